package auth

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Refusal says why a request is not let in. The set of refusals is closed:
// [Refusals] lists it. A Refusal never holds anything the caller sent, so it is
// safe in answers, logs, metrics and events.
type Refusal struct {
	// Reason is the refusal's stable name, used as a metric's label and in
	// explanations: "expired", "unknown_key", …
	Reason string

	// Status is the HTTP status to answer with: 400, 401, 403 or 503.
	Status int

	// Code is the error code of the challenge (RFC 6750, section 3.1), or
	// empty where a challenge carries none.
	Code string

	// Message is one sentence for the caller, in ASCII without quotes or
	// backslashes, as error_description asks (RFC 6750, section 3).
	Message string

	// Scope lists the scopes the request needs, separated by spaces; only
	// with the code insufficient_scope, and only where scopes are missing.
	Scope string

	// ACR lists the values of the claim acr that will do, separated by spaces, and
	// MaxAge is how long ago the login may be; only with the code
	// insufficient_user_authentication, and zero where the route does not ask for it
	// (RFC 9470, section 3).
	ACR    string
	MaxAge time.Duration

	// RetryAfter says when to try again; zero except with status 503.
	RetryAfter time.Duration

	// Cause holds details for the operator's debug log, never for the
	// caller; nil in almost all refusals.
	Cause error
}

// Error is the message for the caller.
func (r *Refusal) Error() string { return r.Message }

// Unwrap gives the cause, nil if there is none.
func (r *Refusal) Unwrap() error { return r.Cause }

// Is makes errors.Is find a refusal by its reason, whatever details it carries.
func (r *Refusal) Is(target error) bool {
	other, ok := target.(*Refusal)
	return ok && other.Reason == r.Reason
}

// because gives the refusal with a cause, for the operator.
func (r *Refusal) because(cause error) *Refusal {
	caused := *r
	caused.Cause = cause
	return &caused
}

// Error codes of RFC 6750, section 3.1, and RFC 9470, section 3.
const (
	codeInvalidRequest    = "invalid_request"
	codeInvalidToken      = "invalid_token"
	codeInsufficientScope = "insufficient_scope"
	codeInsufficientLogin = "insufficient_user_authentication"
)

// The refusals. Their messages are the closed set of sentences a caller sees. What
// finds one is a line of the checks of a token (checks.go) or a rule of a route
// (rules.go), which explain.go shows; docs/troubleshooting.md has a row for each.
var (
	ErrNoToken = define("no_token", http.StatusUnauthorized, "", "a bearer token is required")

	ErrSeveralHeaders       = badRequest("several_headers", "the request has several Authorization headers")
	ErrTwoTokens            = badRequest("two_tokens", "the request carries a token in more than one place")
	ErrMalformedHeader      = badRequest("malformed_header", "the Authorization header must be Bearer and one token")
	ErrMalformedCookie      = badRequest("malformed_cookie", "the cookie for the token holds something that is no token")
	ErrMalformedQuery       = badRequest("malformed_query", "the query parameter for the token holds something that is no token")
	ErrMalformedTokenHeader = badRequest("malformed_token_header", "the header for the token holds something that is no token")
	ErrProtocol             = badRequest("protocol", "the connection cannot be switched to this protocol here")
	ErrTooLong              = badRequest("too_long", "the token is longer than 16 KiB")

	ErrNotJWS          = badToken("not_jws", "the token is not a signed JWT in compact form")
	ErrMalformedClaims = badToken("malformed_claims", "a claim of the token has the wrong type")
	ErrHeaderMember    = badToken("header_member", "a member of the header of the token has the wrong type")
	ErrRepeatedMember  = badToken("repeated_member", "a member of the header or the claims of the token stands twice")
	ErrNotUnicode      = badToken("not_unicode", "the token holds text that is not valid Unicode")
	ErrAlgorithm       = badToken("algorithm", "the signature algorithm of the token is not accepted")
	ErrCritical        = badToken("critical", "the token has a critical header that is not understood")
	ErrTokenType       = badToken("type", "the token is of another type than an access token")
	ErrIssuer          = badToken("issuer", "the issuer of the token is not accepted")
	ErrNoSubject       = badToken("no_subject", "the token has no subject")
	ErrNoExpiry        = badToken("no_expiry", "the token has no expiry")
	ErrExpired         = badToken("expired", "the token has expired")
	ErrNotYetValid     = badToken("not_yet_valid", "the token is not valid yet")
	ErrLifetime        = badToken("lifetime", "the lifetime of the token is longer than accepted")
	ErrAudience        = badToken("audience", "the token is not meant for this audience")
	ErrBound           = badToken("bound", "the token is bound to a key and cannot be used as a bearer token")
	ErrUnknownKey      = badToken("unknown_key", "the key that signed the token is not known")
	ErrManyKeys        = badToken("many_keys", "the token does not name the key that signed it, and the issuer has too many to try")
	ErrSignature       = badToken("signature", "the signature of the token is not valid")
	ErrInactive        = badToken("inactive", "the issuer says that the token is not active")
	ErrHeaderValue     = badToken("header_value", "a claim of the token cannot be carried in a header")
	ErrACR             = define("acr", http.StatusUnauthorized, codeInsufficientLogin, "a stronger way to log in is required here")
	ErrAuthTime        = define("auth_time", http.StatusUnauthorized, codeInsufficientLogin, "a more recent login is required here")
	ErrScope           = define("scope", http.StatusForbidden, codeInsufficientScope, "the token lacks a scope that is required here")
	ErrGroup           = forbidden("group", "the caller is in none of the groups required here")
	ErrClaim           = forbidden("claim", "a claim of the token does not have a value required here")
	ErrOnlyMachines    = forbidden("kind", "only service accounts are let in here")
	ErrNoMachines      = forbidden("kind_denied", "service accounts are not let in here")
	ErrCrossSite       = define("cross_site", http.StatusForbidden, "", "a page of another site cannot use the token in a cookie")
	ErrKindUnclear     = forbidden("kind_unclear", "the token does not tell whether a person or a service account is calling")
	ErrUserLimit       = forbidden("user_limit", "the license does not cover any more people")
	ErrKeysUnavailable = define("keys_unavailable", http.StatusServiceUnavailable, "", "the keys of the token's issuer cannot be had at the moment")
	ErrNoAnswer        = define("introspection_unavailable", http.StatusServiceUnavailable, "", "the token's issuer cannot be asked about the token at the moment")

	ErrAccountUnknown         = badToken("account_unknown", "the service account is not registered")
	ErrAccountInactive        = badToken("account_inactive", "the service account is switched off")
	ErrAccountExpired         = badToken("account_expired", "the service account has expired")
	ErrAccountsUnavailable    = define("accounts_unavailable", http.StatusServiceUnavailable, "", "the service accounts cannot be read at the moment")
	ErrRevoked                = badToken("revoked", "the token was revoked")
	ErrRevocationsUnavailable = define("revocations_unavailable", http.StatusServiceUnavailable, "", "the revocations cannot be read at the moment")
)

// Refusals lists every refusal that this package can give, once, but for those of
// [Verdict.CheckSender], which [SenderRefusals] lists.
func Refusals() []*Refusal { return slices.Clone(refusals) }

var refusals []*Refusal

func define(reason string, status int, code, message string) *Refusal {
	r := newRefusal(reason, status, code, message)
	refusals = append(refusals, r)
	return r
}

func newRefusal(reason string, status int, code, message string) *Refusal {
	r := &Refusal{Reason: reason, Status: status, Code: code, Message: message}
	if status == http.StatusServiceUnavailable {
		r.RetryAfter = time.Second
	}
	return r
}

func badRequest(reason, message string) *Refusal {
	return define(reason, http.StatusBadRequest, codeInvalidRequest, message)
}

func badToken(reason, message string) *Refusal {
	return define(reason, http.StatusUnauthorized, codeInvalidToken, message)
}

// forbidden is for what more scopes would not mend: the code insufficient_scope
// would send the client for another token.
func forbidden(reason, message string) *Refusal {
	return define(reason, http.StatusForbidden, "", message)
}

// HasDemands tells whether the refusal says what its route asks for, so that its
// challenge is another one on each route.
func (r *Refusal) HasDemands() bool { return r.Scope != "" || r.ACR != "" || r.MaxAge > 0 }

// The schemes of challenges. Where a route takes both, both stand beside each other
// (RFC 9449, section 7.1).
const (
	Bearer = "Bearer"
	DPoP   = "DPoP"
)

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
