package sso

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Request is what a Service is asked.
type Request struct {
	// Header is the request's header; only Authorization and Date are read.
	Header http.Header

	// RawQuery is the query as it was sent, without the question mark.
	RawQuery string

	// Authenticate decides about a caller who does not come with an HMAC: by the
	// bearer token of the Authorization header, and where there is no such header
	// by whatever else the user of this package trusts. It is called at most once.
	// Nil lets the caller in. A refusal has one of the codes CodeInvalidToken,
	// CodeInsufficientScope, CodeTemporarilyUnavailable and CodeInvalidHeaders;
	// any other code becomes the first of these, and every refusal of a caller
	// without the header becomes CodeMissingHeaders. A nil func refuses all.
	Authenticate func(ctx context.Context) *Refusal
}

// Caller is somebody who may ask.
type Caller struct {
	who     *credential
	limited bool // they are over their rate limit
}

// Admit decides who is asking; nil with a refusal.
func (s *Service) Admit(ctx context.Context, r Request) (*Caller, *Refusal) {
	fields := r.Header.Values("Authorization")
	c := &Caller{who: &credential{}}
	var refusal *Refusal
	switch {
	case strings.Join(fields, "") == "":
		refusal = s.admitUnnamed(ctx, r)
	case len(fields) == 1 && hasBearerScheme(fields[0]):
		refusal = authenticate(ctx, r)
	default:
		if c.who, refusal = s.admitSigned(fields, r.Header.Values("Date")); refusal == nil {
			c.limited = c.who.limiter != nil && !c.who.limiter.AllowN(s.now(), 1)
		}
	}
	if refusal != nil {
		return nil, refusal
	}
	return c, nil
}

// admitUnnamed decides about a caller without an Authorization header.
func (s *Service) admitUnnamed(ctx context.Context, r Request) *Refusal {
	if r.Authenticate != nil && r.Authenticate(ctx) == nil {
		return nil
	}
	if strings.Join(r.Header.Values("Date"), "") == "" {
		return missingHeaders("Authorization, Date")
	}
	return missingHeaders("Authorization")
}

func missingHeaders(names string) *Refusal {
	return refuse(CodeMissingHeaders, "Some headers are missing: "+names)
}

// authenticate decides about a caller with a bearer token.
func authenticate(ctx context.Context, r Request) *Refusal {
	if r.Authenticate == nil {
		return errInvalidToken
	}
	refusal := r.Authenticate(ctx)
	if refusal == nil {
		return nil
	}
	switch refusal.Code {
	case CodeInvalidToken, CodeInsufficientScope, CodeTemporarilyUnavailable, CodeInvalidHeaders:
		return refusal
	}
	other := *refusal
	other.Code = CodeInvalidToken
	return &other
}

// admitSigned checks an HMAC. The order of the checks is that of the codes.
func (s *Service) admitSigned(fields, dates []string) (*credential, *Refusal) {
	if strings.Join(dates, "") == "" {
		return nil, missingHeaders("Date")
	}
	if len(fields) > 1 {
		return nil, errUnreadable
	}
	parts, ok := parseParts(fields[0])
	if !ok {
		return nil, errUnreadable
	}
	if missing := missingParts(parts); len(missing) > 0 {
		return nil, refuse(CodeMissingParams, "Some parameters are missing in the authorization: "+strings.Join(missing, ", "))
	}
	switch {
	case !strings.EqualFold(parts[partHeaders], signedHeaders):
		return nil, errWrongHeaders
	case !strings.EqualFold(parts[partAlgorithm], hmacAlgorithm):
		return nil, errNotHMAC
	case len(dates) > 1 || !isRecent(dates[0], s.now(), s.maxSkew):
		return nil, s.dateDiff
	}
	known, ok := s.credentials[parts[partAPIKey]]
	switch {
	case !ok:
		return nil, errUnknownKey
	case known.disabled:
		return nil, errRevokedKey
	// In constant time. The one encoding of the right signature is compared, so that
	// no other spelling of it passes.
	case subtle.ConstantTimeCompare([]byte(Sign(known.key, dates[0])), []byte(parts[partSignature])) != 1:
		return nil, errSignature
	}
	return known, nil
}

const (
	// maxAuthorizationBytes bounds an HMAC Authorization header; real ones have
	// about 150.
	maxAuthorizationBytes = 8 << 10
	maxAuthorizationParts = 16

	bearerScheme = "bearer"
	blank        = " \t"
)

// The parts of an HMAC Authorization header, in the order that a refusal names
// missing ones.
const (
	partAlgorithm = "algorithm"
	partHeaders   = "headers"
	partSignature = "signature"
	partAPIKey    = "apikey"
)

var requiredParts = []string{partAlgorithm, partHeaders, partSignature, partAPIKey}

// hasBearerScheme tells whether the field's first word is "Bearer", in any case
// (RFC 6750, section 2.1).
func hasBearerScheme(field string) bool {
	scheme := field
	if end := strings.IndexAny(field, blank); end >= 0 {
		scheme = field[:end]
	}
	return strings.EqualFold(scheme, bearerScheme) // no letter of it has a case beyond ASCII
}

// parseParts reads `name="value",…`, with or without blanks around the commas.
// The names come back in lower case. It is not ok if the field is too long or
// formed otherwise, or names a part twice. Unknown parts are accepted: clients of
// a newer server should not fail here.
func parseParts(field string) (parts map[string]string, ok bool) {
	if len(field) > maxAuthorizationBytes {
		return nil, false
	}
	parts = make(map[string]string, len(requiredParts))
	for rest, more := field, true; more; {
		var name, value string
		name, value, rest, more, ok = cutPart(rest)
		if _, twice := parts[name]; !ok || twice || len(parts) == maxAuthorizationParts {
			return nil, false
		}
		parts[name] = value
	}
	return parts, true
}

// cutPart takes the first part off, with the comma behind it; more tells whether
// there was one.
func cutPart(s string) (name, value, rest string, more, ok bool) {
	name, s, ok = strings.Cut(strings.TrimLeft(s, blank), `="`)
	if !ok || !isName(name) {
		return "", "", "", false, false
	}
	value, s, ok = strings.Cut(s, `"`)
	if !ok || !isQuoted(value) {
		return "", "", "", false, false
	}
	s = strings.TrimLeft(s, blank)
	rest, more = strings.CutPrefix(s, ",")
	return strings.ToLower(name), value, rest, more, more || s == ""
}

// missingParts names the required parts that are absent or empty.
func missingParts(parts map[string]string) []string {
	var missing []string
	for _, name := range requiredParts {
		if parts[name] == "" {
			missing = append(missing, name)
		}
	}
	return missing
}

// isName tells whether s has only letters, digits, - and _, as base64url does.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '_' && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// isQuoted tells whether s may stand between quotes. Escapes are not known here:
// nothing that clients send needs one.
func isQuoted(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

// isVisible tells whether s may stand between quotes, has no blank and is not empty.
func isVisible(s string) bool { return s != "" && isQuoted(s) && !strings.Contains(s, " ") }

// Check decides whether a caller may ask about a product of an account. An account
// that the caller may not see is as none.
func (s *Service) Check(c *Caller, product, account string) *Refusal {
	if refusal := s.CheckProduct(c, product); refusal != nil {
		return refusal
	}
	if !s.Sees(c, product, account) {
		return errAccount
	}
	return nil
}

// CheckProduct decides whether a caller may ask about a product, and at the moment.
func (s *Service) CheckProduct(c *Caller, product string) *Refusal {
	switch {
	case !slices.Contains(s.products, product):
		return errProduct
	case !allows(c.who.products, product):
		return errKeyProduct
	case c.limited:
		return errLimited
	}
	return nil
}

// Sees tells whether there is an account of that code with that product, for the caller
// to see.
func (s *Service) Sees(c *Caller, product, account string) bool {
	a := s.accounts[account]
	return a != nil && allows(c.who.accounts, account) && allows(a.products, product)
}

// Success is the answer to a request that is granted: the body as compact JSON, signed
// if there is a key to sign with.
func (s *Service) Success(body any) Response {
	answer, err := s.success(body)
	if err != nil {
		return Refused(&Refusal{Code: CodeInternal, Message: "The answer cannot be made", Cause: err})
	}
	return answer
}

// SignText is the signature of a text, as that of an answer: base64 of RSA PKCS #1
// v1.5 with SHA-256. Empty: there is no key to sign with.
func (s *Service) SignText(text string) (string, error) {
	if s.signingKey == nil {
		return "", nil
	}
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.signingKey, crypto.SHA256, digest[:])
	if err != nil {
		return "", errors.New("signing the answer failed") // the cause is about the key
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}
