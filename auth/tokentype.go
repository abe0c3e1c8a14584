package auth

import (
	"errors"
	"slices"
	"strings"
)

// Media types in the header's typ (RFC 9068, section 2.1; RFC 7519, section 5.1).
const (
	accessTokenType = "at+jwt"
	anyJWTType      = "jwt"
)

// typeMark is a claim that marks a token as one of another kind.
type typeMark struct {
	name    string
	idToken bool // the option to accept ID tokens takes it
	refusal *Refusal
}

// typeMarks are all of them, by the claim.
var typeMarks = func() map[string]*typeMark {
	all := make(map[string]*typeMark)
	add := func(idToken bool, cause string, names ...string) {
		for _, name := range names {
			all[name] = &typeMark{name, idToken, ErrTokenType.because(errors.New("the claim " + name + " " + cause))}
		}
	}
	// OpenID Connect Core 1.0, sections 2 and 3.3.2.11, FAPI and CIBA.
	add(true, "is one of ID tokens: send the access token, or write `id_tokens accept` if the issuer's access tokens look so",
		"nonce", "at_hash", "c_hash", "s_hash", "urn:openid:params:jwt:claim:rt_hash", "urn:openid:params:jwt:claim:auth_req_id")
	// Security events and logout tokens (RFC 8417), DPoP proofs (RFC 9449),
	// verifiable credentials, their presentations and status lists, introspection
	// answers (RFC 9701), statements of federations.
	add(false, "is one of another kind of token", "events", "toe", "htm", "htu",
		"vct", "vc", "vp", "_sd", "_sd_alg", "sd_hash", "status_list", "token_introspection", "metadata_policy")
	add(false, "is not access", "token_use")
	add(false, "is not Bearer", "typ")
	return all
}()

// checkType lets in what is known to be an access token, or at least not known to
// be of another kind: the type at+jwt, or one that the operator named, is good; JWT
// or none is good without any mark of another kind; any other type is not.
func (a *authority) checkType(h *header, c claimSet, acceptIDTokens bool) *Refusal {
	said := h.mediaType != anyJWTType && h.mediaType != "" // by the header that it is an access token
	isJWT := len(h.hint.Algorithm) > 0
	switch {
	case isJWT && a.TokenType != "" && h.mediaType != a.TokenType,
		a.TokenType == "" && said && h.mediaType != accessTokenType && !slices.Contains(a.preset.types, h.mediaType):
		return ErrTokenType
	}
	if h.answered && c.present("token_type") {
		if !answersAccess(c) {
			return errAnswerType
		}
		said = true
	}
	for i := range c {
		m := typeMarks[string(c[i].Name)]
		if m == nil || m.idToken && acceptIDTokens || a.isHarmless(m, said, c) ||
			h.answered && m.name == "token_use" && c.is(m.name, "access_token") { // Ory Hydra's
			continue
		}
		return m.refusal
	}
	if a.preset.clientAsAudience && !c.present("token_use") {
		return typeMarks["token_use"].refusal
	}
	if len(a.preset.accessClaims) > 0 && !said && !acceptIDTokens && !slices.ContainsFunc(a.preset.accessClaims, c.present) {
		return ErrTokenType
	}
	return nil
}

// answersAccess tells whether an answer says that the token is an access token: by a
// type that access tokens have (RFC 7662, section 2.2; RFC 6749, section 7.1), or by a
// name for them. Refresh tokens are active, too, and have none of these.
func answersAccess(c claimSet) bool {
	said, ok := c.text("token_type")
	if !ok {
		return false
	}
	switch strings.ToLower(said) {
	case "bearer", "access_token", "urn:ietf:params:oauth:token-type:access_token":
		return true
	case "dpop":
		return c.present("cnf")
	}
	return false
}

var errAnswerType = ErrTokenType.because(errors.New("the issuer's answer has a token_type that is none of access tokens"))

// isHarmless tells whether a claim that often is a mark is none in this token.
func (a *authority) isHarmless(m *typeMark, said bool, c claimSet) bool {
	if slices.Contains(a.preset.marksOfIDTokens, m.name) {
		return true
	}
	switch m.name {
	case "token_use":
		return c.is(m.name, "access")
	case "typ":
		// Keycloak's, or the header's once more. That a token is bound to a key is
		// looked at later.
		typ, ok := c.text("typ")
		media := mediaType(typ)
		return ok && (strings.EqualFold(typ, "Bearer") || media == accessTokenType || media == anyJWTType ||
			strings.EqualFold(typ, "DPoP") && c.present("cnf"))
	case "at_hash":
		return said && !c.present("nonce") // with both it is an ID token, whatever it says
	case "nonce":
		return said || a.preset.nonceInBearer && c.is("typ", "Bearer")
	}
	return said && m.idToken
}
