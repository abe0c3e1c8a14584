package auth

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// parseBuffer is a token in JWS compact serialization, taken apart and decoded but
// not verified, with all the memory that this takes unless the token is unusually
// large. Buffers are used again and again: the making and collecting of 2.5 KB of
// garbage would be a quarter of what refusing a request costs.
type parseBuffer struct {
	jose.Compact
	header  header
	reader  jose.Reader
	members [usualClaims]jose.Member // of the header, then of the payload
	room    [parseBytes]byte         // the token, and behind it what its parts say
}

// parseBytes is room enough for a token of 2300 bytes.
const parseBytes = 4096

var parseBuffers = sync.Pool{New: func() any { return new(parseBuffer) }}

// header is the JOSE header (RFC 7515, section 4.1) as far as it matters here.
// Members that would bring a key along (jku, jwk, x5u, x5c) are never read.
type header struct {
	hint      issuer.Hint // of the key
	mediaType string      // typ as section 4.1.9 reads it: lower case, without "application/"
	answered  bool        // the claims are what the issuer answered about the token, or that is among them
}

// takeApart decodes a token's parts and reads its header. It refuses headers that ask
// for what is not understood here: any critical extension (RFC 7515, section 4.1.11)
// and unencoded payloads (RFC 7797). What the buffer holds is good until it is used
// again.
func (b *parseBuffer) takeApart(token string) *Refusal {
	b.header = header{}
	if strings.Count(token, ".") != 2 || !b.Decode(append(b.room[:0], token...)) { // counted before a long one is copied
		return ErrNotJWS
	}
	read, err := b.reader.Read(b.Header, b.members[:0])
	if err != nil {
		return badJSON(b.Header)
	}
	members := claimSet(read)
	algorithm, ok1 := members.text("alg")
	keyID, ok2 := members.text("kid")
	typ, ok3 := members.text("typ")
	if !ok1 || !ok2 || !ok3 {
		return ErrHeaderMember
	}
	x5t, _ := members.text("x5t") // no more than a hint
	x5tS256, _ := members.text("x5t#S256")
	if encoded, ok := members.get("b64"); members.present("crit") || ok && encoded.Kind() != 't' {
		return ErrCritical
	}
	hint := issuer.Hint{Algorithm: algorithm, KeyID: keyID, HasKeyID: members.present("kid"), X5T: x5t, X5TS256: x5tS256}
	b.header = header{hint: hint, mediaType: mediaType(typ)}
	return nil
}

// claims reads the payload of the token that was taken apart.
func (b *parseBuffer) claims() (claimSet, *Refusal) {
	members, err := b.reader.Read(b.Payload, b.members[:0])
	if err != nil {
		return nil, badJSON(b.Payload)
	}
	return claimSet(members), nil
}

// mediaType normalizes a typ: case does not matter and "application/" may be
// left out.
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// badJSON says why a text could not be read as one strict JSON object.
func badJSON(text []byte) *Refusal {
	read := func(options ...jsontext.Options) error {
		_, err := jsontext.NewDecoder(bytes.NewReader(text), options...).ReadValue()
		return err
	}
	err := read()
	switch {
	case err == nil:
		return ErrNotJWS // it is something else than one object
	case errors.Is(err, jsontext.ErrDuplicateName):
		return ErrRepeatedMember
	case read(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) == nil:
		return ErrNotUnicode
	}
	return ErrNotJWS
}

// findKey finds the issuer's key that signed the token.
func (x *examination) findKey() *Refusal {
	keys, hint := x.authority.keys, x.parts.header.hint
	signer, tried, err := issuer.FindSigner(x.ctx, keys, hint, func(keys []*issuer.Key) (*issuer.Key, error) {
		return x.signedBy(keys), nil
	})
	if err != nil {
		return keyRefusal(err, tried, keys.JWKS(), hint)
	}
	x.key = signer
	return nil
}

// noneSigned is the refusal where the issuer has keys that the token may mean, and
// none of those that were tried signed it.
func noneSigned(choice issuer.Choice) *Refusal {
	switch {
	case len(choice.Keys) == 0 && choice.Foreign:
		return ErrUnknownKey.because(errors.New("the key of this id is another issuer's, as the key set says"))
	case len(choice.Keys) == 0:
		return ErrAlgorithm
	case len(choice.Keys) == 1:
		return ErrSignature
	}
	tried := make([]string, 0, len(choice.Keys))
	for _, key := range choice.Keys {
		tried = append(tried, key.Name()) // an id, or a thumbprint
	}
	if choice.Left > 0 {
		return ErrManyKeys.because(fmt.Errorf("tried: %s; %d more would fit", strings.Join(tried, ", "), choice.Left))
	}
	return ErrSignature.because(fmt.Errorf("tried: %s", strings.Join(tried, ", ")))
}

// signedBy gives the first of the keys under which the signature holds, or nil.
// Requests with the same token share one attempt; one that failed may have been made
// with other keys, so it convinces only who made it.
func (x *examination) signedBy(keys []*issuer.Key) *issuer.Key {
	if len(keys) == 0 {
		return nil
	}
	// The keys are tried one by one.
	try := func() *issuer.Key {
		for _, key := range keys {
			if jose.Verify(x.parts.header.hint.Algorithm, key.Public(), x.parts.Signed, x.parts.Signature) {
				return key
			}
		}
		return nil
	}
	attempts := &x.verifier.attempts[int(x.sum[0])%len(x.verifier.attempts)]
	found, _, shared := attempts.Do(string(x.sum[:]), func() (any, error) { return try(), nil })
	if key := found.(*issuer.Key); key != nil || !shared {
		return key
	}
	return try()
}

// keyRefusal turns the reason why no key is known to have signed the token into a
// refusal.
func keyRefusal(err error, tried issuer.Choice, jwks *issuer.JWKS, hint issuer.Hint) *Refusal {
	if errors.Is(err, issuer.ErrUnknownKey) || errors.Is(err, issuer.ErrWrongSignature) {
		if tried.Known || len(tried.Keys) > 0 {
			return noneSigned(tried)
		}
		if reason := jwks.Unusable(hint.KeyID); reason != "" {
			return ErrUnknownKey.because(fmt.Errorf("the issuer publishes a key of this id, which %s", reason))
		}
		return ErrUnknownKey
	}
	refusal := ErrKeysUnavailable.because(err)
	refusal.RetryAfter = 5 * time.Second
	var unavailable *issuer.UnavailableError
	if errors.As(err, &unavailable) && unavailable.RetryAfter > 0 {
		refusal.RetryAfter = unavailable.RetryAfter
	}
	return refusal
}

// Media types in the header's typ (RFC 9068, section 2.1; RFC 7519, section 5.1).
const (
	accessTokenType = "at+jwt"
	anyJWTType      = "jwt"
)

// idTokenMarks are the claims that mark ID tokens (OpenID Connect Core 1.0, sections 2
// and 3.3.2.11, FAPI and CIBA). The option to accept ID tokens takes them.
var idTokenMarks = []string{
	"nonce", "at_hash", "c_hash", "s_hash", "urn:openid:params:jwt:claim:rt_hash", "urn:openid:params:jwt:claim:auth_req_id",
}

// typeMarks are all claims that mark a token as one of another kind, each with the
// refusal.
var typeMarks = func() map[string]*Refusal {
	all := make(map[string]*Refusal)
	add := func(cause string, names ...string) {
		for _, name := range names {
			all[name] = ErrTokenType.because(errors.New("the claim " + name + " " + cause))
		}
	}
	add("is one of ID tokens: send the access token. Only if the issuer's access tokens have it, too: `id_tokens accept` takes them, and with them ID tokens, from whoever got one", idTokenMarks...)
	// Security events and logout tokens (RFC 8417), DPoP proofs (RFC 9449),
	// verifiable credentials, their presentations and status lists, introspection
	// answers (RFC 9701), statements of federations.
	add("is one of another kind of token", "events", "toe", "htm", "htu",
		"vct", "vc", "vp", "_sd", "_sd_alg", "sd_hash", "status_list", "token_introspection", "metadata_policy")
	add("is not access", "token_use")
	add("is not Bearer", "typ")
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
		refusal := typeMarks[string(c[i].Name)]
		if refusal == nil {
			continue
		}
		mark := string(c[i].Name)
		if acceptIDTokens && slices.Contains(idTokenMarks, mark) || a.isHarmless(mark, said, c) ||
			h.answered && mark == "token_use" && c.is(mark, "access_token") { // Ory Hydra's
			continue
		}
		return refusal
	}
	if a.preset.clientAsAudience && !c.present("token_use") {
		return a.notOfPreset
	}
	if len(a.preset.accessClaims) > 0 && !said && !acceptIDTokens && !slices.ContainsFunc(a.preset.accessClaims, c.present) {
		return a.notOfPreset
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
func (a *authority) isHarmless(mark string, said bool, c claimSet) bool {
	if slices.Contains(a.preset.marksOfIDTokens, mark) {
		return true
	}
	switch mark {
	case "token_use":
		return c.is(mark, "access")
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
	return said && slices.Contains(idTokenMarks, mark)
}
