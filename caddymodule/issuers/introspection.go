package issuers

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/introspection"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// Introspection has an issuer asked what its tokens are worth (RFC 7662): tokens that
// are no JWTs, and JWTs that may be revoked before they expire. What it answers is
// held to the same rules as the claims of a JWT.
type Introspection struct {
	// Where to ask. Default: the `introspection_endpoint` of the issuer's metadata.
	Endpoint string `json:"endpoint,omitempty"`

	// What this server is called at the issuer. Required.
	ClientID string `json:"client_id,omitempty"`

	// The secret that proves it: a placeholder such as {env.NAME} or
	// {file./abs/path}. A literal works, but stands in the configuration for all to
	// read. One of `client_secret`, `private_key` and `certificate` is required.
	ClientSecret string `json:"client_secret,omitempty"`

	// A file with the private key that proves it (private_key_jwt, RFC 7523), as PEM
	// or as a JWK, whose `kid` is sent.
	PrivateKey string `json:"private_key,omitempty"`

	// A PEM file with the client certificate that proves it (mutual TLS, RFC 8705).
	// It is read anew with each connection, as is its key.
	Certificate string `json:"certificate,omitempty"`

	// A PEM file with the key of `certificate`.
	CertificateKey string `json:"certificate_key,omitempty"`

	// `opaque` asks about what is no JWT; `all` about this issuer's JWTs too, so that
	// it is seen when one is revoked. Default: opaque.
	Tokens string `json:"tokens,omitempty"`

	// How opaque tokens begin that are sent to this issuer. Needed in all but one
	// issuer where several have introspection. Default: all that no other issuer's
	// prefix fits.
	Prefixes []string `json:"prefixes,omitempty"`

	// How long the answer that a token is active is used, so how late a revocation
	// may be seen; never longer than the token lives. 0s asks with each request.
	// Default: 10s.
	Cache *caddy.Duration `json:"cache,omitempty"`

	// Asks for answers that the issuer signed (RFC 9701), and takes no other.
	// Default: false.
	Signed bool `json:"signed,omitempty"`

	// `client` lets the answer's `client_id` be one of the audiences where it has no
	// `aud` and says that the token is an access token. Default: `aud` only.
	AudienceFrom string `json:"audience_from,omitempty"`
}

// The words that options take.
var (
	askedTokens   = parse.Choice{"opaque", tokensAll}
	audienceFroms = parse.Choice{audienceFromClient}
)

const (
	tokensAll          = "all"
	audienceFromClient = "client"
)

// parseIntrospection reads how an issuer is asked about tokens. Syntax:
//
//	introspection {
//	    endpoint      <url>
//	    client_id     <id>
//	    client_secret <secret>
//	    private_key   <path>
//	    certificate   <path> <key path>
//	    tokens        opaque|all
//	    prefix        <prefix...>
//	    cache         <duration>
//	    signed
//	    audience_from client
//	}
func (n *Introspection) parseIntrospection(d *caddyfile.Dispenser) error {
	line := parse.At(d.Token())
	if err := parse.NoMore(d, "introspection"); err != nil {
		return err
	}
	err := parse.Block(d, parse.Options{
		"endpoint":      parse.Word(&n.Endpoint),
		"client_id":     parse.Word(&n.ClientID),
		"client_secret": parse.Word(&n.ClientSecret),
		"private_key":   parse.Word(&n.PrivateKey),
		"certificate":   parse.Once(n.parseCertificate),
		"tokens":        parse.OneOf(&n.Tokens, askedTokens),
		"prefix":        parse.Repeatable(n.parsePrefix),
		"cache":         parse.OptionalDuration(&n.Cache, 0, introspection.MaxCache),
		"signed":        parse.Flag(&n.Signed),
		"audience_from": parse.OneOf(&n.AudienceFrom, audienceFroms),
	})
	if err != nil {
		return err
	}
	return parse.AtLine(line, n.checkProof())
}

func (n *Introspection) parseCertificate(d *caddyfile.Dispenser) error {
	files := d.RemainingArgs()
	if len(files) != 2 || files[0] == "" || files[1] == "" {
		return d.Err("certificate: expected two files: of the certificate, and of its key")
	}
	n.Certificate, n.CertificateKey = files[0], files[1]
	return nil
}

func (n *Introspection) parsePrefix(d *caddyfile.Dispenser) error {
	if err := parse.AppendWords(d, &n.Prefixes); err != nil {
		return err
	}
	return parse.AtLine(d, introspection.CheckPrefixes(n.Prefixes))
}

// checkProof is checked beforehand, as a placeholder does not matter to it.
func (n *Introspection) checkProof() error {
	given := 0
	for _, value := range []string{n.ClientSecret, n.PrivateKey, n.Certificate + n.CertificateKey} {
		if value != "" {
			given++
		}
	}
	switch {
	case n.ClientID == "":
		return errors.New("introspection: expected client_id: what this server is called at the issuer")
	case given == 0:
		return errors.New("introspection: expected one of client_secret, private_key and certificate: an issuer answers only to whom it knows")
	case given > 1:
		return errors.New("introspection: found more than one of client_secret, private_key and certificate, expected one")
	}
	return nil
}

// resolve gives the configuration, with its placeholders replaced and its files read.
// The source is the issuer's.
func (n *Introspection) resolve(r *parse.Resolver, source issuer.Config) (*introspection.Config, error) {
	if err := errors.Join(askedTokens.Check("tokens", n.Tokens), audienceFroms.Check("audience_from", n.AudienceFrom)); err != nil {
		return nil, err
	}
	cfg := &introspection.Config{
		Endpoint:         r.Text("endpoint", n.Endpoint),
		CA:               source.CA,
		InsecureHTTP:     source.InsecureHTTP,
		ClientID:         r.Text("client_id", n.ClientID),
		CertificateFile:  r.Text("certificate", n.Certificate),
		KeyFile:          r.Text("certificate", n.CertificateKey),
		All:              n.Tokens == tokensAll,
		Prefixes:         r.List("prefix", n.Prefixes),
		Cache:            introspection.DefaultCache,
		Signed:           n.Signed,
		ClientAsAudience: n.AudienceFrom == audienceFromClient,
	}
	if n.ClientSecret != "" {
		cfg.ClientSecret = strings.TrimSpace(r.Secret("client_secret"+parse.Shown(n.ClientSecret), n.ClientSecret))
	}
	if n.Cache != nil {
		cfg.Cache = time.Duration(*n.Cache)
	}
	key := r.Text("private_key", n.PrivateKey)
	if r.Err != nil {
		return nil, r.Err
	}
	if key != "" {
		data, err := parse.ReadKeyFile(key)
		if err != nil {
			return nil, fmt.Errorf("private_key: %w", err)
		}
		if cfg.PrivateKey, err = introspection.ParsePrivateKey(data); err != nil {
			return nil, fmt.Errorf("private_key: %s: %w", key, err)
		}
	}
	return cfg, cfg.Validate(source)
}

// checkAsked checks which tokens are sent to which issuer, and says who should know
// that a secret is there for all to read.
func (list List) checkAsked(logger *zap.Logger) error {
	var configs []*introspection.Config
	for _, i := range list {
		configs = append(configs, i.asked)
		if n := i.Introspection; n != nil && n.ClientSecret != "" && !parse.HasPlaceholder(n.ClientSecret) {
			logger.Warn("a client secret of introspection stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead",
				zap.String("issuer", i.policy.Name))
		}
	}
	return introspection.CheckAmong(list.Names(), configs)
}

// checkEndpoint checks where the issuer is asked, as far as the Caddyfile alone tells.
func (i *Issuer) checkEndpoint() error {
	n := i.Introspection
	switch {
	case n == nil || parse.HasPlaceholder(n.Endpoint):
		return nil
	case n.Endpoint == "" && i.JWKSFile != "":
		return errors.New("introspection: expected endpoint beside jwks_file, with which no metadata are fetched")
	case n.Endpoint == "":
		return nil
	}
	if err := issuer.CheckURL(n.Endpoint, i.InsecureHTTP); err != nil {
		return fmt.Errorf("introspection: endpoint: %q %w", n.Endpoint, err)
	}
	return nil
}

// checkPrefixes is checkAsked as far as the Caddyfile alone tells it.
func (i *Issuer) checkPrefixes(others []*Issuer) error {
	var names []string
	var configs []*introspection.Config
	for _, one := range append(others[:len(others):len(others)], i) {
		if one.Introspection != nil {
			names = append(names, one.label())
			configs = append(configs, &introspection.Config{Prefixes: one.Introspection.Prefixes})
		}
	}
	return introspection.CheckAmong(names, configs)
}

// observeIntrospection writes a line when an issuer stops answering, and when it
// answers again.
func observeIntrospection(logger *zap.Logger) func(error) {
	return func(err error) {
		if err != nil {
			logger.Warn("the issuer does not answer questions about tokens; tokens that it was not asked about lately get 503", zap.Error(err))
			return
		}
		logger.Info("the issuer answers questions about tokens again")
	}
}

var (
	introspectionsTotal = metrics.Counter("introspections_total",
		"Introspection requests to an issuer: active, inactive, failed where there was no answer, or limited where none was sent because too many before found no active token.",
		"issuer", "result")
	introspectionSeconds = metrics.Histogram("introspection_duration_seconds",
		"Time that an issuer took to answer an introspection request, or to fail to.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}, "issuer")
)

// countQuestions gives what counts the questions to an issuer. A series begins at zero.
func countQuestions(name string) func(introspection.Outcome, time.Duration) {
	for _, outcome := range introspection.Outcomes() {
		introspectionsTotal.WithLabelValues(name, string(outcome))
	}
	introspectionSeconds.WithLabelValues(name)
	return func(outcome introspection.Outcome, took time.Duration) {
		introspectionsTotal.WithLabelValues(name, string(outcome)).Inc()
		if outcome != introspection.Limited {
			introspectionSeconds.WithLabelValues(name).Observe(took.Seconds())
		}
	}
}

// Questions describes how an issuer is asked, for the API; nil if it is not.
func (i *Issuer) Questions(verifier *auth.Verifier) func() introspection.Status {
	client := verifier.Introspection(i.policy.Name)
	if client == nil {
		return nil
	}
	return client.Status
}
