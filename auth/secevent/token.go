package secevent

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Bounds of what is read.
const (
	// MaxToken bounds an event, in bytes.
	MaxToken = 64 << 10
	// MaxID bounds its `jti`, in bytes.
	MaxID = 1024

	maxAudiences = 100
)

// signedToken is a JWT of which nothing is believed until its signature was verified.
type signedToken struct {
	compact  jose.Compact
	hint     issuer.Hint
	typ      string // lower case, without "application/"
	claims   jose.Object
	id       string
	issuedAt time.Time
}

// open takes a token apart and holds everything but its signature against what all
// kinds of events have in common (RFC 8725, sections 3.1 to 3.12): the types that it
// may have, `alg`, `iss`, `aud`, `jti`, `iat` and, where they are there, `exp` and
// `nbf`.
func (s *Source) open(text string, types, audiences []string) (*signedToken, *Refusal) {
	if len(text) > MaxToken {
		return nil, refuse(InvalidRequest, "the token is longer than %d bytes", MaxToken)
	}
	t := new(signedToken)
	if strings.Count(text, ".") != 2 || !t.compact.Decode([]byte(text)) {
		return nil, refuse(InvalidRequest, "not a JWT in JWS compact serialization: an encrypted or unsigned one is not accepted")
	}
	if refusal := t.readHeader(); refusal != nil {
		return nil, refusal
	}
	var err error
	if t.claims, err = jose.ReadObject(t.compact.Payload, nil); err != nil {
		return nil, refuse(InvalidRequest, "the claims are %v", err)
	}
	switch {
	case !slices.Contains(types, t.typ):
		return nil, refuse(InvalidRequest, "the header's typ is not %s", types[0])
	case !slices.Contains(s.config.Algorithms, t.hint.Algorithm):
		return nil, refuse(InvalidKey, "the header's alg is none of those that are accepted from this issuer")
	}
	if refusal := s.checkClaims(t, audiences); refusal != nil {
		return nil, refusal
	}
	return t, nil
}

// readHeader refuses what a header asks for that is not understood here (RFC 7515,
// section 4.1.11; RFC 7797). Members that would bring a key along are never read.
func (t *signedToken) readHeader() *Refusal {
	header, err := jose.ReadObject(t.compact.Header, nil)
	if err != nil {
		return refuse(InvalidRequest, "the header is %v", err)
	}
	texts := make(map[string]string, 5)
	for _, name := range []string{"alg", "kid", "typ", "x5t", "x5t#S256"} {
		value, ok := header.Text(name)
		if !ok {
			return refuse(InvalidRequest, "the header's %s is not a text", name)
		}
		texts[name] = string(value)
	}
	for _, name := range []string{"crit", "b64"} {
		if _, present := header.Get(name); present {
			return refuse(InvalidRequest, "the header holds %s, which is not understood", name)
		}
	}
	_, named := header.Get("kid")
	t.hint = issuer.Hint{Algorithm: texts["alg"], KeyID: texts["kid"], HasKeyID: named, X5T: texts["x5t"], X5TS256: texts["x5t#S256"]}
	t.typ = strings.TrimPrefix(strings.ToLower(texts["typ"]), "application/")
	return nil
}

func (s *Source) checkClaims(t *signedToken, audiences []string) *Refusal {
	iss, ok := t.claims.Text("iss")
	if !ok || string(iss) != s.transmitter {
		return refuse(InvalidIssuer, "the claim iss is not the identifier of this issuer")
	}
	found, ok := t.claims.List("aud")
	if !ok || len(found) > maxAudiences || !slices.ContainsFunc(found, func(one string) bool { return slices.Contains(audiences, one) }) {
		return refuse(InvalidAudience, "the claim aud holds none of the audiences that are configured for such events")
	}
	id, ok := t.claims.Text("jti")
	if !ok || len(id) == 0 || len(id) > MaxID {
		return refuse(InvalidRequest, "the claim jti is not a text of 1 to %d bytes", MaxID)
	}
	t.id = string(id)
	if _, present := t.claims.Get("nonce"); present {
		return refuse(InvalidRequest, "the claim nonce marks an ID token")
	}
	return s.checkTimes(t)
}

// checkTimes leaves it to the kinds of events how old one may be.
func (s *Source) checkTimes(t *signedToken) *Refusal {
	now := float64(s.config.Now().UnixNano()) / float64(time.Second)
	leeway := s.config.Leeway.Seconds()
	issued, present, ok := t.claims.Date("iat")
	if !present || !ok || issued < 0 {
		return refuse(InvalidRequest, "the claim iat is not a time in seconds")
	}
	if issued > now+leeway {
		return refuse(InvalidRequest, "the claim iat is in the future")
	}
	t.issuedAt = time.Unix(int64(issued), 0)
	expires, present, ok := t.claims.Date("exp")
	if !ok || present && now >= math.Floor(expires)+leeway {
		return refuse(InvalidRequest, "the claim exp is in the past, or not a time in seconds")
	}
	begins, present, ok := t.claims.Date("nbf")
	if !ok || begins < 0 || present && now+leeway < begins {
		return refuse(InvalidRequest, "the claim nbf is in the future, or not a time in seconds")
	}
	return nil
}

// isLate tells whether no token that was issued by then is accepted any more.
func (s *Source) isLate(issuedAt time.Time) bool {
	return s.config.Now().Sub(issuedAt) > s.config.Lifetime+2*s.config.Leeway
}

// verify finds the issuer's key that signed the token. It comes last, as it costs most.
func (s *Source) verify(ctx context.Context, t *signedToken) error {
	_, _, err := issuer.FindSigner(ctx, s.config.Keys, t.hint, func(keys []*issuer.Key) (*issuer.Key, error) {
		if err := s.awaitTurn(ctx); err != nil {
			return nil, err
		}
		return issuer.SignedBy(keys, t.hint, t.compact), nil
	})
	switch {
	case errors.Is(err, issuer.ErrWrongSignature):
		return refuse(InvalidKey, "the signature does not hold under the issuer's key of that id")
	case errors.Is(err, issuer.ErrUnknownKey):
		return refuse(InvalidKey, "no key of the issuer signed it")
	case errors.As(err, new(*issuer.UnavailableError)):
		return errors.Join(ErrKeys, err)
	}
	return err
}
