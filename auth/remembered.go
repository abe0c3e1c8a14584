package auth

import (
	"math"
	"strings"
	"sync/atomic"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// remembered is a token that was verified before: whose it is and what it still
// depends on. There may be millions, so every word counts: a token's own claims
// take most of it.
type remembered struct {
	sum       fingerprint
	key       *issuer.Key
	text      string // the JSON of its own claims, and what they do not say literally
	until     int64  // when it stops to count, Unix seconds: exp and the leeway
	claims    span   // of the text
	subject   span
	client    span
	asked     atomic.Bool // since eviction last came by
	recalled  atomic.Pointer[recalled]
	admitted  atomic.Pointer[admitted] // as it last was
	principal Principal
}

// span is a part of a token's text, which is shorter than 64 KiB because the
// token is of [MaxTokenBytes] at most.
type span struct{ from, to uint16 }

func (s span) of(text string) string { return text[s.from:s.to] }

// holds tells whether the token still counts: its key is still its issuer's,
// and it has not expired.
func (r *remembered) holds(now int64) bool {
	return now < r.until && r.key.TrustedAt(now)
}

// describe reads the caller out of the claims of a token that was verified.
func (a *authority) describe(r *remembered, c claimSet) *Refusal {
	subject, refusal := a.subject(c)
	if refusal != nil {
		return refusal
	}
	if _, ok := c.text("jti"); !ok {
		return ErrMalformedClaims
	}
	expiry, _, _ := c.date("exp")
	r.until = int64(math.Floor(expiry)) + a.leewaySeconds
	own, common := a.split(c)
	r.say(string(own), subject, a.client(c))
	r.principal = Principal{token: r, standing: a.standing(c, string(common))}
	return nil
}

// say keeps the claims, and finds the subject and the client in them. What does
// not stand there letter by letter, is put behind.
func (r *remembered) say(claims, subject, client string) {
	text := claims
	find := func(s string) span {
		at := strings.Index(claims, s)
		if at < 0 {
			at = len(text)
			text += s
		}
		return span{uint16(at), uint16(at + len(s))}
	}
	r.subject, r.client = find(subject), find(client)
	r.claims = span{0, uint16(len(claims))}
	r.text = text
}
