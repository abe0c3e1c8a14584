package introspection

import (
	"crypto/hmac"
	"crypto/sha256"
	"time"
)

// How long an answer is remembered.
const (
	// DefaultCache is how late a revocation is seen at most, unless said otherwise.
	DefaultCache = 10 * time.Second
	// MaxCache is the longest that may be said.
	MaxCache = time.Hour

	negativeTime = 5 * time.Second // that a token is known not to be active
	lingerTime   = time.Second     // that a good answer is given to who comes late
)

// ServesUntil is the time until which a good answer serves, and nobody needs to ask
// again.
func (c Config) ServesUntil(answer *Answer) time.Time { return answer.AskedAt.Add(c.Cache) }

// question is one question about a token, shared by all who need its answer, for a
// while after it was answered, too. It ends with the client, never with who began it.
type question struct {
	done   chan struct{}
	answer *Answer // readable once done, as is err
	err    error
	ended  bool      // under the client's mutex
	until  time.Time // when it is forgotten after its end
}

// hash stands for a token of this issuer, so that none is kept.
func (c *Client) hash(token string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, c.secret[:])
	h.Write([]byte(c.source.Issuer))
	h.Write([]byte{0})
	h.Write([]byte(token))
	h.Sum(sum[:0])
	return sum
}

// end lets those go who wait for a question, and forgets it, at once or after a
// while.
func (c *Client) end(sum [sha256.Size]byte, q *question) {
	now := c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(q.done)
	c.open--
	q.ended = true
	switch {
	case q.err != nil:
	case !q.answer.Active:
		q.until = now.Add(negativeTime)
	default: // who came a moment too late for the answer must not ask again
		q.until = now.Add(lingerTime)
		if late := c.cfg.ServesUntil(q.answer); late.Before(q.until) {
			q.until = late
		}
	}
	forget := func() {
		if c.questions[sum] == q {
			delete(c.questions, sum)
		}
	}
	if !now.Before(q.until) {
		forget()
		return
	}
	time.AfterFunc(q.until.Sub(now), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		forget()
	})
}
