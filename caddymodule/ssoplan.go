package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// ssoPlan is a configuration of the service, resolved. It lives as long as
// provisioning does, as it holds the shared keys.
type ssoPlan struct {
	config     sso.Config
	sharedKeys []string         // of config.Credentials, which do not show them
	sources    []*issuer.Config // of config.Accounts; nil: has an endpoint itself
	signingKey []byte           // PEM
}

func (p *ssoPlan) setSigningKey(path string, pem []byte) error {
	if pem == nil {
		return nil
	}
	key, err := sso.ParseSigningKey(pem)
	if err != nil {
		return fmt.Errorf("response_signing_key: %s: %w", path, err)
	}
	p.config.ResponseSigningKey, p.signingKey = key, pem
	return nil
}

// key is equal for plans that mean the same. It is a digest, because it covers
// the secrets.
func (p *ssoPlan) key() (string, error) {
	var sources []string
	for _, source := range p.sources {
		id := ""
		if source != nil {
			id = source.ID()
		}
		sources = append(sources, id)
	}
	text, err := json.Marshal(struct {
		Products    []string
		Credentials []sso.Credential
		Accounts    []sso.Account
		MaxSkew     time.Duration
		RateLimit   int
		SharedKeys  []string
		Sources     []string
		SigningKey  []byte
	}{
		p.config.Products, p.config.Credentials, p.config.Accounts, p.config.MaxSkew, p.config.RateLimit,
		p.sharedKeys, sources, p.signingKey,
	})
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:]), err
}

// plan is the configuration with every placeholder resolved.
func (s *SSO) plan(issuers []*Issuer) (*ssoPlan, error) {
	var r resolver
	plan := &ssoPlan{config: sso.Config{Products: s.Products, MaxSkew: time.Duration(s.MaxSkew), RateLimit: s.RateLimit}}
	for _, c := range s.Credentials {
		shared := strings.TrimSpace(r.secret("credential"+shownPlaceholder(c.SharedKey), c.SharedKey))
		plan.sharedKeys = append(plan.sharedKeys, shared)
		plan.config.Credentials = append(plan.config.Credentials,
			c.credential(r.secret("credential"+shownPlaceholder(c.APIKey), c.APIKey), shared))
	}
	for _, a := range s.Accounts {
		account, source, err := a.resolve(&r, issuers)
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", a.Code, err)
		}
		plan.config.Accounts = append(plan.config.Accounts, account)
		plan.sources = append(plan.sources, source)
	}
	pem, err := s.readSigningKey(&r)
	if err = errors.Join(r.err, err); err != nil {
		return nil, err
	}
	return plan, plan.setSigningKey(s.ResponseSigningKey, pem)
}

// shownPlaceholder is what an error may show of where a secret comes from: a
// placeholder that stands alone, and nothing of a literal.
func shownPlaceholder(value string) string {
	inner, ok := strings.CutPrefix(value, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !ok || !closed || strings.ContainsAny(inner, "{}") {
		return ""
	}
	return " " + value
}

func (c *SSOCredential) credential(apiKey, sharedKey string) sso.Credential {
	return sso.Credential{
		APIKey: apiKey, SharedKey: sso.NewSecret(sharedKey),
		Disabled: c.Disabled, Products: c.Products, Accounts: c.Accounts,
	}
}

// resolve gives the account without its metadata, and where those come from;
// an account with an endpoint of its own has no source.
func (a *SSOAccount) resolve(r *resolver, issuers []*Issuer) (sso.Account, *issuer.Config, error) {
	if a.ImplicitFlow != "" && a.ImplicitFlow != "off" && a.ImplicitFlow != "on" {
		return sso.Account{}, nil, fmt.Errorf("implicit_flow: found %q, expected on or off", a.ImplicitFlow)
	}
	account := a.account(r.text)
	identifier := r.text("issuer", a.Issuer)
	if identifier == "" || r.err != nil {
		return account, nil, nil
	}
	if a.AuthorizationEndpoint != "" {
		return account, nil, errors.New("issuer and authorization_endpoint are both set: give one")
	}
	source, err := metadataSource(identifier, issuers)
	return account, source, err
}

// account is what the options say, each string as text resolves it.
func (a *SSOAccount) account(text func(option, value string) string) sso.Account {
	account := sso.Account{
		Code: a.Code, AuthorizationEndpoint: text("authorization_endpoint", a.AuthorizationEndpoint),
		Preset: a.Preset, ClientID: text("client_id", a.ClientID),
		Scopes: a.Scopes, Products: a.Products,
		ResponseType: a.ResponseType, NoImplicitFlow: a.ImplicitFlow == "off",
	}
	for _, uri := range a.RedirectURIs {
		account.RedirectURIs = append(account.RedirectURIs, text("redirect_uri", uri))
	}
	if len(a.Params) > 0 {
		account.Params = make(map[string]string, len(a.Params))
	}
	for name, value := range a.Params {
		account.Params[name] = text("param "+name, value)
	}
	return account
}

// metadataSource says how an issuer's metadata are had: as the gate has them,
// if it knows the issuer.
func metadataSource(identifier string, issuers []*Issuer) (*issuer.Config, error) {
	source := issuer.Config{Issuer: identifier}
	for _, i := range issuers {
		if i.policy.Issuer == identifier {
			source = i.source
		}
	}
	if source.JWKSFile != "" {
		return nil, fmt.Errorf("issuer %s has a jwks_file, which means no network, so its login page cannot be looked up: give authorization_endpoint instead of issuer", identifier)
	}
	discovering := source
	discovering.JWKSURI = "" // whose absence is what makes an identifier have to be a URL
	if err := discovering.Validate(); err != nil {
		return nil, err
	}
	return &source, nil
}

// maxKeyFile bounds the file of a private key, in bytes.
const maxKeyFile = 64 << 10

// readSigningKey gives the content of the file, nil where none is configured.
func (s *SSO) readSigningKey(r *resolver) ([]byte, error) {
	if s.ResponseSigningKey == "" {
		return nil, nil
	}
	file, err := os.Open(r.text("response_signing_key", s.ResponseSigningKey))
	if err != nil {
		return nil, fmt.Errorf("response_signing_key: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("response_signing_key: %w", err)
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("response_signing_key: %s is larger than 64 KiB: it is no key", s.ResponseSigningKey)
	}
	return data, nil
}
