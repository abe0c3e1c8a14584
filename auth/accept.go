package auth

import (
	"math"
	"slices"
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

// dates are the claims of RFC 7519, sections 4.1.4 to 4.1.6, in Unix seconds.
type dates struct {
	expiry, notBefore, issued          float64
	hasExpiry, hasNotBefore, hasIssued bool
}

func (c claimSet) dates() (d dates, refusal *Refusal) {
	var ok1, ok2, ok3 bool
	d.expiry, d.hasExpiry, ok1 = c.date("exp")
	d.notBefore, d.hasNotBefore, ok2 = c.date("nbf")
	d.issued, d.hasIssued, ok3 = c.date("iat")
	if !ok1 || !ok2 || !ok3 {
		return d, ErrMalformedClaims
	}
	return d, nil
}

func (a *authority) checkExpiry(c claimSet, now float64) *Refusal {
	d, refusal := c.dates()
	switch {
	case refusal != nil:
		return refusal
	case !d.hasExpiry:
		return ErrNoExpiry
	case now >= math.Floor(d.expiry)+a.leeway():
		return ErrExpired
	}
	return nil
}

// checkBegin honors nbf and iat where they are there.
func (a *authority) checkBegin(c claimSet, now float64) *Refusal {
	d, refusal := c.dates()
	if refusal != nil {
		return refusal
	}
	now += a.leeway()
	if d.hasNotBefore && now < d.notBefore || d.hasIssued && now < d.issued {
		return ErrNotYetValid
	}
	return nil
}

func (a *authority) checkLifetime(c claimSet) *Refusal {
	if a.MaxLifetime <= 0 {
		return nil
	}
	d, refusal := c.dates()
	if refusal != nil {
		return refusal
	}
	if !d.hasIssued || d.expiry-d.issued > a.MaxLifetime.Seconds() {
		return ErrLifetime
	}
	return nil
}

// leeway is the policy's, in seconds.
func (a *authority) leeway() float64 { return float64(a.leewaySeconds) }

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
