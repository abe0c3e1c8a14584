package auth

import (
	"math"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// Token is a token that was verified: what it says, and what it still depends
// on. It is shared by all requests with that token. There may be very many, so
// it is small: its own claims take most.
type Token struct {
	sum      fingerprint
	text     string // the JSON of its own claims, and what they do not say literally
	until    int64  // when it stops to count, Unix seconds: exp and the leeway
	claims   span   // of the text
	subject  span
	client   span
	asked    atomic.Bool // since the cache last looked
	standing *standing
	recalled atomic.Pointer[recalled]
	first    admitted
	later    atomic.Pointer[admitted] // once the first is not true any more
}

// Issuer is the configured name of the token's issuer.
func (t *Token) Issuer() string { return t.standing.authority.Name }

// Subject is the caller's name at the issuer; never empty.
func (t *Token) Subject() string { return t.subject.of(t.text) }

// ClientID is the OAuth 2.0 client the token was issued to; empty if it does not
// say.
func (t *Token) ClientID() string { return t.client.of(t.text) }

// span is a part of a token's text, which is shorter than 64 KiB because the
// token is of [MaxTokenBytes] at most.
type span struct{ from, to uint16 }

func (s span) of(text string) string { return text[s.from:s.to] }

// isPlain tells whether a header carries a part of the text unchanged: what it
// does not is behind the claims.
func (t *Token) isPlain(s span) bool { return s.to <= t.claims.to }

// holds tells whether the token still counts: its key is still its issuer's,
// and it has not expired.
func (t *Token) holds(now int64) bool {
	return now < t.until && t.standing.key.TrustedAt(now)
}

// bytes is the memory that the token takes in a [cache] by itself. What it may be
// registered as counts from the beginning: it takes as much as what the token says.
func (t *Token) bytes() int64 {
	registered := int64(unsafe.Sizeof(standing{})) + t.standing.groups.bytes()
	return cacheEntry + int64(unsafe.Sizeof(Token{})) + textBytes(t.text) + registered
}

// hold gives the bytes to count for the token, without what others are counted for.
func (t *Token) hold() int64 {
	bytes := t.bytes() + t.standing.part.hold()
	for r := t.recalled.Load(); r != nil; r = r.rest {
		bytes += r.part.hold()
	}
	return bytes
}

// release gives the bytes that were counted for the token alone.
func (t *Token) release() int64 {
	bytes := t.bytes() + t.standing.part.release()
	for r := t.recalled.Load(); r != nil; r = r.rest {
		bytes += r.part.release()
	}
	return bytes
}

// textBytes is the memory of a text, rounded up as the allocator does.
func textBytes(s string) int64 { return (int64(len(s)) + 15) &^ 15 }

// describe reads the caller out of the claims of a token that was verified.
func (a *authority) describe(t *Token, h *header, c claimSet, key *issuer.Key) *Refusal {
	subject, refusal := a.subject(c)
	if refusal != nil {
		return refusal
	}
	if _, ok := c.text("jti"); !ok {
		return ErrMalformedClaims
	}
	expiry, _, _ := c.date("exp")
	t.until = int64(math.Floor(expiry)) + a.leewaySeconds
	own, common := a.split(c)
	t.say(string(own), subject, a.client(c))
	t.standing = a.standing(c, string(common), key, a.isLikeIDToken(h, c))
	return nil
}

// say keeps the claims, and finds the subject and the client in them. What does
// not stand there letter by letter, or is not plain, is put behind.
func (t *Token) say(claims, subject, client string) {
	text := claims
	find := func(s string) span {
		at := strings.Index(claims, s)
		if at < 0 || !isPlain(s) {
			at = len(text)
			text += s
		}
		return span{uint16(at), uint16(at + len(s))}
	}
	t.subject, t.client = find(subject), find(client)
	t.claims = span{0, uint16(len(claims))}
	t.text = text
}
