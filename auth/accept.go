package auth

import (
	"math"
	"slices"
	"strings"
)

// notAccessTokens are media types of signed JWTs that are plainly something
// else than access tokens: logout and security event tokens (OpenID
// Back-Channel Logout, RFC 8417), DPoP proofs (RFC 9449), request objects (RFC
// 9101), introspection answers (RFC 9701), client and entity statements.
var notAccessTokens = []string{
	"logout+jwt", "secevent+jwt", "dpop+jwt", "oauth-authz-req+jwt",
	"token-introspection+jwt", "client-authentication+jwt",
	"entity-statement+jwt", "id_token+jwt", "kb+jwt", "jwk-set+jwt",
}

// check holds everything about a token but its signature against the policy, so
// that what cannot pass costs no cryptography. It answers the first refusal, in
// a fixed order: header, type, shape of the claims, time, audience, binding.
func (a *authority) check(h *header, c claimSet, now float64) *Refusal {
	if refusal := a.checkAlgorithm(h); refusal != nil {
		return refusal
	}
	if refusal := a.checkType(h, c); refusal != nil {
		return refusal
	}
	if refusal := a.checkTime(c, now); refusal != nil {
		return refusal
	}
	if refusal := a.checkAudience(c); refusal != nil {
		return refusal
	}
	return checkBinding(c)
}

func (a *authority) checkAlgorithm(h *header) *Refusal {
	if !slices.Contains(a.Algorithms, h.algorithm) {
		return ErrAlgorithm
	}
	return nil
}

// checkType refuses what says of itself that it is no access token.
func (a *authority) checkType(h *header, c claimSet) *Refusal {
	if a.TokenType != "" && h.mediaType != a.TokenType {
		return ErrTokenType
	}
	if a.TokenType == "" && slices.Contains(notAccessTokens, h.mediaType) {
		return ErrTokenType
	}
	if c.is("token_use", "id") || a.preset.clientAsAudience && !c.is("token_use", "access") {
		return ErrTokenType
	}
	for _, typ := range []string{"ID", "Refresh", "Offline"} {
		if c.is("typ", typ) {
			return ErrTokenType
		}
	}
	if c.present("nonce") && c.present("at_hash") {
		return ErrTokenType
	}
	return nil
}

// checkTime wants exp, and honors nbf and iat where they are there (RFC 7519,
// sections 4.1.4 to 4.1.6).
func (a *authority) checkTime(c claimSet, now float64) *Refusal {
	expiry, hasExpiry, ok := c.date("exp")
	notBefore, hasNotBefore, ok2 := c.date("nbf")
	issued, hasIssued, ok3 := c.date("iat")
	if !ok || !ok2 || !ok3 {
		return ErrMalformedClaims
	}
	if !hasExpiry {
		return ErrNoExpiry
	}
	leeway := math.Ceil(a.Leeway.Seconds())
	if now >= math.Floor(expiry)+leeway {
		return ErrExpired
	}
	if hasNotBefore && now+leeway < notBefore || hasIssued && now+leeway < issued {
		return ErrNotYetValid
	}
	if a.MaxLifetime > 0 && (!hasIssued || expiry-issued > a.MaxLifetime.Seconds()) {
		return ErrLifetime
	}
	return nil
}

func (a *authority) checkAudience(c claimSet) *Refusal {
	audiences, ok := c.audiences()
	if !ok {
		return ErrMalformedClaims
	}
	if containsAny(audiences, a.Audiences) {
		return nil
	}
	if audiences != nil || !a.preset.clientAsAudience {
		return ErrAudience
	}
	client, ok := c.text("client_id")
	if !ok {
		return ErrMalformedClaims
	}
	if len(a.Audiences) > 0 && !slices.Contains(a.Audiences, client) {
		return ErrAudience
	}
	return nil
}

// checkBinding refuses a token that is bound to a key (RFC 7800, RFC 8705, RFC
// 9449): taking it from a mere bearer would undo the binding.
func checkBinding(c claimSet) *Refusal {
	if c.present("cnf") {
		return ErrBound
	}
	return nil
}

// describe reads the caller out of the claims of a token that was verified.
func (a *authority) describe(p *Principal, c claimSet, payload string) *Refusal {
	subject, refusal := a.subject(c)
	if refusal != nil {
		return refusal
	}
	if _, ok := c.text("jti"); !ok {
		return ErrMalformedClaims
	}
	expiry, _, _ := c.date("exp")
	p.payload = payload
	p.subject = part(payload, subject)
	p.client = part(payload, a.client(c))
	p.expires = int64(math.Floor(expiry))
	p.standing = a.shelf.share(&standing{
		issuer: a.Name,
		kind:   a.kind(c),
		leeway: int64(math.Ceil(a.Leeway.Seconds())),
		groups: a.groups(c),
		scopes: a.scopes(c),
	})
	return nil
}

// part gives s as a part of the payload where it stands there letter by letter,
// so that it needs no memory of its own.
func part(payload, s string) string {
	if i := strings.Index(payload, s); i >= 0 {
		return payload[i : i+len(s)]
	}
	return s
}

func (a *authority) subject(c claimSet) (string, *Refusal) {
	path := a.SubjectClaim
	if path == "" {
		path = "sub"
	}
	value, ok := c.lookup(path)
	if !ok {
		return "", ErrNoSubject
	}
	subject, ok := stringOf(value)
	if !ok {
		return "", ErrMalformedClaims
	}
	if subject == "" {
		return "", ErrNoSubject
	}
	return subject, nil
}

func (a *authority) kind(c claimSet) Kind {
	if a.preset.kind != "" {
		return a.preset.kind
	}
	sub, _ := c.text("sub")
	if a.preset.machine(c, sub) {
		return KindServiceAccount
	}
	return KindUser
}

func (a *authority) client(c claimSet) string {
	for _, path := range a.preset.clients {
		if list := c.texts(path); len(list) == 1 {
			return list[0]
		}
	}
	return ""
}

func (a *authority) groups(c claimSet) (list []string) {
	for _, path := range a.preset.groups {
		for _, group := range c.texts(path) {
			if !slices.Contains(list, group) {
				list = append(list, group)
			}
		}
	}
	return list
}

func (a *authority) scopes(c claimSet) []string {
	for _, path := range a.preset.scopes {
		if _, ok := c.lookup(path); ok {
			return c.words(path)
		}
	}
	return nil
}
