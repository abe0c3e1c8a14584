package introspection

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
	"github.com/gatehouse-proxy/gatehouse/internal/bom"
)

const (
	// maxAnswerBytes bounds an answer: four times what a JWT may have.
	maxAnswerBytes = 64 << 10

	// signedType is the media type of signed answers (RFC 9701, section 5).
	signedType = "token-introspection+jwt"
)

// knownEndpoint is the address to ask at, and how clients may authenticate there, as
// far as that is known without waiting; empty if it is not.
func (c *Client) knownEndpoint() (address string, methods []string) {
	if c.cfg.Endpoint != "" {
		return c.cfg.Endpoint, nil
	}
	return c.named(c.keys.KnownMetadata())
}

func (c *Client) named(m *issuer.Metadata) (address string, methods []string) {
	switch {
	case m == nil:
		return "", nil
	case c.cfg.CertificateFile != "" && m.MTLS.IntrospectionEndpoint != "":
		return m.MTLS.IntrospectionEndpoint, m.IntrospectionAuthMethods
	}
	return m.IntrospectionEndpoint, m.IntrospectionAuthMethods
}

// endpoint is knownEndpoint, for which it waits.
func (c *Client) endpoint(ctx context.Context) (address string, methods []string, err error) {
	if c.cfg.Endpoint != "" {
		return c.cfg.Endpoint, nil, nil
	}
	metadata, err := c.keys.Metadata(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("the issuer's metadata, which name the introspection endpoint, are not known: %w", err)
	}
	if address, methods = c.named(metadata); address == "" {
		return "", nil, errors.New("the issuer's metadata name no introspection_endpoint: give it as endpoint")
	}
	return address, methods, nil
}

// ask sends one question and reads the answer. With an error, it says for how long the
// issuer asks to be left alone.
func (c *Client) ask(ctx context.Context, token string) (answer *Answer, hold time.Duration, err error) {
	address, methods, err := c.endpoint(ctx)
	if err != nil {
		return nil, 0, err
	}
	place := issuer.ShownURL(address)
	request, err := c.request(ctx, address, methods, token)
	if err != nil {
		return nil, 0, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, 0, fmt.Errorf("asking %s: %w", place, issuer.WithoutRemoteText(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, issuer.RetryAfter(response, c.opts.Now()), fmt.Errorf("%s answered with %s", place, c.denial(response, token))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading the answer of %s: %w", place, issuer.WithoutRemoteText(err))
	}
	if answer, err = c.read(ctx, response.Header.Get("Content-Type"), body); err != nil {
		return nil, 0, fmt.Errorf("the answer of %s %w", place, err)
	}
	answer.Endpoint = place
	return answer, 0, nil
}

// denial says of an answer that is none what there is to say: the status, and the OAuth
// error code, if it is no more than one (RFC 6749, section 5.2). A server might repeat
// in it what it was sent.
func (c *Client) denial(response *http.Response, token string) string {
	code, hint := "", ""
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes)) // what is cut off is no JSON
		members, _ := jose.ReadObject(body, nil)
		text, _ := members.Text("error")
		if said := string(text); errorCode.Match(text) && !strings.Contains(token, said) && !strings.Contains(c.cfg.ClientSecret, said) {
			code = " (" + said + ")"
		}
	}
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		hint = "; does the issuer know this client_id by this secret, key or certificate, and may the client ask about tokens?"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		hint = "; is this the introspection endpoint?"
	}
	return fmt.Sprintf("status %d%s, not 200%s", response.StatusCode, code, hint)
}

var errorCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// read makes an answer of a body. Its errors go on from "the answer".
func (c *Client) read(ctx context.Context, contentType string, body []byte) (*Answer, error) {
	if len(body) > maxAnswerBytes {
		return nil, fmt.Errorf("has more than %d bytes", maxAnswerBytes)
	}
	body, err := bom.Skip(body)
	if err != nil {
		return nil, fmt.Errorf("is not JSON: %w", err)
	}
	media, _, _ := mime.ParseMediaType(contentType)
	isSigned := media == "application/"+signedType
	switch {
	case isSigned && !c.cfg.Signed:
		return nil, errors.New("is signed, which was not asked for")
	case !c.cfg.Signed:
		return ParseAnswer(body)
	case !isSigned:
		return nil, errors.New("is not signed: expected application/" + signedType)
	}
	payload, err := c.opts.Open(ctx, string(body))
	if err != nil {
		return nil, err
	}
	return c.parseSigned(payload)
}

// request makes a question: a form, in which a token cannot be taken for more than
// one parameter, and the proof of who asks.
func (c *Client) request(ctx context.Context, address string, methods []string, token string) (*http.Request, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	basic := false
	switch {
	case c.cfg.PrivateKey != nil:
		assertion, err := c.cfg.PrivateKey.assertion(c.cfg.ClientID, c.source.Issuer, c.opts.Now())
		if err != nil {
			return nil, err
		}
		form.Set("client_id", c.cfg.ClientID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	case c.cfg.CertificateFile != "":
		form.Set("client_id", c.cfg.ClientID)
	case len(methods) > 0 && !slices.Contains(methods, "client_secret_basic") && slices.Contains(methods, "client_secret_post"):
		form.Set("client_id", c.cfg.ClientID)
		form.Set("client_secret", c.cfg.ClientSecret)
	default:
		basic = true
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("asking %s: not an address that can be asked", issuer.ShownURL(address))
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "gatehouse")
	if c.cfg.PrivateKey == nil { // an assertion is good once
		// A connection that the issuer closed meanwhile costs no answer then: see
		// http.Transport. Nothing is sent of this.
		request.Header["Idempotency-Key"] = []string{}
	}
	if c.cfg.Signed {
		request.Header.Set("Accept", "application/"+signedType)
	}
	if basic { // form encoded before they are joined: RFC 6749, section 2.3.1
		request.SetBasicAuth(url.QueryEscape(c.cfg.ClientID), url.QueryEscape(c.cfg.ClientSecret))
	}
	return request, nil
}

// certificate reads the client's certificate, for one connection.
func (c *Client) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.cfg.CertificateFile, c.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls: certificate: %w", err)
	}
	return &pair, nil
}

// Answer is what an issuer says of a token. It is shared by all who asked.
type Answer struct {
	// Active: the token is good as far as the issuer is concerned (RFC 7662, section
	// 2.2). All else is for the caller to check.
	Active bool
	// Claims is the JSON object of what the issuer says of an active token, without
	// active itself, strictly read: no member stands twice. It must not be changed.
	Claims []byte
	// AskedAt is when the question was sent, so that a revocation after it may have
	// gone unseen; Took is how long the answer took.
	AskedAt time.Time
	Took    time.Duration
	// Endpoint is who was asked: the address without its query.
	Endpoint string
}

// ParseAnswer reads an answer (RFC 7662, section 2.2): one JSON object in UTF-8 in
// which no member stands twice at any depth, with active as a boolean. Errors go on
// from "the answer", and quote nothing.
func ParseAnswer(body []byte) (*Answer, error) {
	if len(body) > maxAnswerBytes {
		return nil, errors.New("is too long")
	}
	members, err := jose.ReadObject(body, nil)
	switch {
	case errors.Is(err, jose.ErrRepeated):
		return nil, errors.New("has a member twice")
	case err != nil:
		return nil, errors.New("is not one JSON object in UTF-8")
	}
	active, _ := members.Get("active")
	switch active.Kind() {
	case 't':
	case 'f':
		return &Answer{}, nil
	default:
		return nil, errors.New("does not have `active` as true or false")
	}
	claims := []byte{'{'}
	for _, member := range members {
		if string(member.Name) == "active" {
			continue
		}
		if len(claims) > 1 {
			claims = append(claims, ',')
		}
		if claims, err = jsontext.AppendQuote(claims, member.Name); err != nil {
			return nil, errors.New("is not one JSON object in UTF-8")
		}
		claims = append(append(claims, ':'), member.Value...)
	}
	return &Answer{Active: true, Claims: append(claims, '}')}, nil
}

// signedAge is how old a signed answer may be when it comes, and signedSkew how far
// the issuer's clock may be ahead: it must be an answer to this question.
const (
	signedAge  = time.Minute
	signedSkew = time.Minute
)

// parseSigned reads the payload of an answer that its issuer signed (RFC 9701,
// section 5): it must be meant for this client, and new.
func (c *Client) parseSigned(payload []byte) (*Answer, error) {
	members, err := jose.ReadObject(payload, nil)
	if err != nil {
		return nil, errors.New("is not signed JSON, or has a member twice")
	}
	if iss, ok := members.Text("iss"); !ok || string(iss) != c.source.Issuer {
		return nil, errors.New("is signed for another issuer (iss)")
	}
	if list, ok := members.List("aud"); !ok || !slices.Contains(list, c.cfg.ClientID) {
		return nil, errors.New("is signed for somebody else: its aud is not this client_id")
	}
	seconds, present, ok := members.Date("iat")
	issued, now := time.Unix(int64(seconds), 0), c.opts.Now()
	if !present || !ok || issued.Before(now.Add(-signedAge-askLimit)) || issued.After(now.Add(signedSkew)) {
		return nil, errors.New("is not signed now, by its iat: are the clocks right?")
	}
	inner, _ := members.Get("token_introspection")
	return ParseAnswer(inner)
}
