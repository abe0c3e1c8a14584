package auth

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
)

// MaxTokenBytes is the longest token that is looked at.
const MaxTokenBytes = 16 << 10

// The schemes that tokens come with, in lower case.
const (
	bearerScheme = "bearer"
	dpopScheme   = "dpop"
)

// ParseAuthorization takes the bearer token out of a request's Authorization
// header fields (RFC 6750, section 2.1): the scheme in any case, a space or more,
// one token. It answers [ErrNoToken] for no field and for another scheme,
// [ErrSeveralHeaders], [ErrMalformedHeader] and [ErrTooLong] for what breaks
// the form. The token is a part of the field: nothing is copied. Whether it is a
// b64token is left to [Verifier.Verify]: a cached token was one.
func ParseAuthorization(fields []string) (string, *Refusal) {
	token, dpop, refusal := ParseCredentials(fields)
	if dpop {
		return "", ErrNoToken
	}
	return token, refusal
}

// ParseCredentials is [ParseAuthorization] for the schemes Bearer and DPoP (RFC 9449,
// section 7.1), and tells which it was.
func ParseCredentials(fields []string) (token string, dpop bool, refusal *Refusal) {
	switch {
	case len(fields) == 0:
		return "", false, ErrNoToken
	case len(fields) > 1:
		return "", false, ErrSeveralHeaders
	}
	field, scheme := fields[0], bearerScheme
	if dpop = hasScheme(field, dpopScheme); dpop {
		scheme = dpopScheme
	} else if !hasScheme(field, bearerScheme) {
		return "", false, ErrNoToken
	}
	if len(field) == len(scheme) || field[len(scheme)] != ' ' {
		return "", dpop, ErrMalformedHeader
	}
	token = strings.TrimLeft(field[len(scheme):], " ")
	switch {
	case token == "":
		return "", dpop, ErrMalformedHeader
	case len(token) > MaxTokenBytes:
		return "", dpop, ErrTooLong
	}
	return token, dpop, nil
}

// CheckToken holds a token, wherever it was found, against the length limit and
// the b64token syntax: [ErrTooLong], [ErrMalformedHeader] or nil.
func CheckToken(token string) *Refusal {
	if len(token) > MaxTokenBytes {
		return ErrTooLong
	}
	if !isB64Token(token) {
		return ErrMalformedHeader
	}
	return nil
}

// IsOtherScheme tells whether a field of the Authorization header is of another
// scheme than those that tokens come with, such as Basic (RFC 9110, section 11.4).
func IsOtherScheme(field string) bool {
	return field != "" && isSchemeByte(field[0]) && !hasScheme(field, bearerScheme) && !hasScheme(field, dpopScheme)
}

// hasScheme tells whether the field's first word is the scheme, which has letters
// only and is given in lower case.
func hasScheme(field, scheme string) bool {
	if len(field) < len(scheme) {
		return false
	}
	for i := range len(scheme) {
		if field[i]|0x20 != scheme[i] {
			return false
		}
	}
	return len(field) == len(scheme) || !isSchemeByte(field[len(scheme)])
}

// isSchemeByte tells whether c may stand in an authentication scheme's name: a
// token byte of RFC 9110, section 5.6.2.
func isSchemeByte(c byte) bool {
	if isAlphanumeric(c) {
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

// isB64Token tells whether s is 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+"
// / "/" ) *"=".
func isB64Token(s string) bool {
	end := len(s)
	for end > 0 && s[end-1] == '=' {
		end--
	}
	if end == 0 {
		return false
	}
	for i := range end {
		if !b64TokenBytes[s[i]] {
			return false
		}
	}
	return true
}

// b64TokenBytes marks the bytes of a b64token before its padding.
var b64TokenBytes = func() (set [256]bool) {
	for c := range 256 {
		set[c] = isAlphanumeric(byte(c))
	}
	for _, c := range []byte("-._~+/") {
		set[c] = true
	}
	return set
}()

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// Challenge words the WWW-Authenticate header of a protected route (RFC 6750,
// section 3; RFC 9470, section 3; RFC 9728, section 5.1).
type Challenge struct {
	// Realm names the protected space; empty leaves the parameter out.
	Realm string

	// Scope lists the scopes that the route asks for, separated by spaces, so
	// that who has no good token yet asks for one with them (RFC 6750, section 3).
	// Empty: none.
	Scope string

	// ResourceMetadata is the address of the resource's metadata; empty leaves
	// the parameter out.
	ResourceMetadata string

	// Algorithms are those that DPoP proofs may be signed by, separated by spaces;
	// only the challenge of the scheme DPoP names them.
	Algorithms string
}

// The schemes of challenges. Where a route takes both, both stand beside each other
// (RFC 9449, section 7.1).
const (
	Bearer = "Bearer"
	DPoP   = "DPoP"
)

// Header gives the header's value for a refusal, or "" where the refusal is
// answered without a challenge.
func (c Challenge) Header(scheme string, r *Refusal) string {
	if r.Status >= 500 {
		return ""
	}
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+`="`+quoteEscaper.Replace(value)+`"`)
		}
	}
	add("realm", c.Realm)
	add("error", r.Code)
	if r.Code != "" || r.Status == http.StatusForbidden {
		add("error_description", r.Message)
	}
	if r.Status == http.StatusUnauthorized || r.Code == codeInsufficientScope {
		add("scope", cmp.Or(r.Scope, c.Scope))
	}
	add("acr_values", r.ACR)
	if r.MaxAge > 0 {
		add("max_age", strconv.Itoa(int(r.MaxAge.Seconds())))
	}
	add("resource_metadata", c.ResourceMetadata)
	if scheme == DPoP {
		add("algs", c.Algorithms)
	}
	if len(params) == 0 {
		return scheme
	}
	return scheme + " " + strings.Join(params, ", ")
}

// quoteEscaper writes a quoted-string's content (RFC 9110, section 5.6.4).
var quoteEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// wellKnownResource is the well-known suffix of RFC 9728, section 3.
const wellKnownResource = "/.well-known/oauth-protected-resource"

// Resource is a protected resource that publishes metadata about itself, so
// that a client can find out where to get a token (RFC 9728).
type Resource struct {
	// Identifier is the resource identifier: an https URL without a fragment
	// (http on loopback is let in for trying out).
	Identifier string

	// Issuers are the identifiers of the authorization servers.
	Issuers []string

	// Scopes are the scopes that requests to the resource need.
	Scopes []string

	// Methods are the ways a token may be sent: header, body, query.
	Methods []string

	// ProofAlgorithms are those that DPoP proofs may be signed by; DPoPOnly tells that
	// tokens must be bound by DPoP, Certificates that they may be bound to client
	// certificates.
	ProofAlgorithms        []string
	DPoPOnly, Certificates bool
}

// CheckResource is an error that says what a resource identifier must look
// like, or nil (RFC 9728, section 1.2).
func CheckResource(identifier string) error {
	u, err := url.Parse(identifier)
	if err != nil || u.Host == "" || u.Fragment != "" || strings.HasSuffix(identifier, "#") || u.User != nil {
		return fmt.Errorf("resource %q: expected an absolute https URL without user information and fragment", identifier)
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback.Host(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("resource %q: found scheme %q, expected https (http is for loopback only)", identifier, u.Scheme)
}

// MetadataURL is where the metadata is published: the well-known suffix goes
// between the host and the path of the identifier (RFC 9728, section 3.1). The
// identifier must have passed [CheckResource].
func (r Resource) MetadataURL() string {
	u, err := url.Parse(r.Identifier)
	if err != nil {
		return ""
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if len(u.EscapedPath()) > 1 {
		path = u.EscapedPath()
	}
	metadata := u.Scheme + "://" + u.Host + wellKnownResource + path
	if u.RawQuery != "" {
		metadata += "?" + u.RawQuery
	}
	return metadata
}

// MetadataPath is the path of [Resource.MetadataURL], percent-decoded, as a
// server matches it.
func (r Resource) MetadataPath() string {
	u, err := url.Parse(r.MetadataURL())
	if err != nil {
		return wellKnownResource
	}
	return u.Path
}

// Metadata is the document to publish (RFC 9728, section 2).
func (r Resource) Metadata() ([]byte, error) {
	document := struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers,omitzero"`
		Scopes   []string `json:"scopes_supported,omitzero"`
		Methods  []string `json:"bearer_methods_supported,omitzero"`
		Proofs   []string `json:"dpop_signing_alg_values_supported,omitzero"`
		DPoP     bool     `json:"dpop_bound_access_tokens_required,omitzero"`
		MTLS     bool     `json:"tls_client_certificate_bound_access_tokens,omitzero"`
	}{r.Identifier, r.Issuers, r.Scopes, r.Methods, r.ProofAlgorithms, r.DPoPOnly, r.Certificates}
	return json.Marshal(document, json.Deterministic(true))
}
