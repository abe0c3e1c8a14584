package introspection

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

const (
	askLimit = 5 * time.Second // of one question, with the wait for its turn

	// The questions under way: as many about tokens that were good before as about
	// others, so that invented tokens are in the way of invented tokens only.
	maxUnderWay = 32
	maxWaiting  = 1000 // tokens that are asked about or wait for that

	// What brought no good answer counts: so many in a row, and so many a second.
	badBurst = 100
	badRate  = 100

	maxHold      = time.Minute // that an issuer may ask to be left alone
	warnInterval = time.Minute
)

// UnavailableError: the issuer gave no answer. It says nothing about the token.
type UnavailableError struct {
	// RetryAfter is when asking again makes sense; at least a second.
	RetryAfter time.Duration
	// Err is the cause, for logs. It holds neither the token nor a remote body.
	Err error
}

// Error describes the cause.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the issuer cannot be asked about the token now: %v", e.Err)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

var (
	errClosed  = errors.New("the client of the introspection endpoint is closed")
	errTooMany = fmt.Errorf("questions about %d tokens wait already", maxWaiting)
	errNoTurn  = fmt.Errorf("%d questions are under way, and none ended in time", maxUnderWay)
	errBadRate = fmt.Errorf("more than %d questions a second were about tokens that are not active", badRate)
	errHeld    = errors.New("the issuer asked to be left alone")
)

// Options are what a client works with, besides its configuration.
type Options struct {
	// Open verifies a signed answer (a JWS in compact serialization) as its issuer's,
	// and gives its payload. Required if the configuration asks for signed answers.
	Open func(ctx context.Context, jws string) ([]byte, error)
	// Count is called for each question that was sent, with what became of it and how
	// long it took; nil: nothing is counted.
	Count func(Outcome, time.Duration)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Client asks one issuer. It is safe for concurrent use.
type Client struct {
	cfg    Config
	source issuer.Config
	keys   *issuer.Engine // for its metadata
	opts   Options
	http   *http.Client
	idle   func()
	secret [sha256.Size]byte // of the hashes of tokens

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	// A question under way has a place in one of these.
	known, strangers chan struct{}
	bad              *rate.Limiter

	leases  storage.Leases[func(error)]
	outages storage.Mailbox[error] // nil: one has ended

	mu        sync.Mutex // guards all below; never held while waiting
	closed    bool
	questions map[[sha256.Size]byte]*question
	open      int       // questions that have not ended
	heldUntil time.Time // the issuer asked to be left alone until then
	status    Status
	warned    bool // of an outage that goes on
	warnedAt  time.Time
}

// New makes a client of the issuer of a source, whose metadata the engine knows. It
// starts nothing, and reads no file but the CA.
func New(cfg Config, source issuer.Config, keys *issuer.Engine, opts Options) (*Client, error) {
	if err := cfg.Validate(source); err != nil {
		return nil, err
	}
	transport, err := issuer.NewTransport(cfg.CA)
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, source: source, keys: keys, opts: opts, idle: transport.CloseIdleConnections,
		known: make(chan struct{}, maxUnderWay), strangers: make(chan struct{}, maxUnderWay),
		bad:       rate.NewLimiter(badRate, badBurst),
		questions: make(map[[sha256.Size]byte]*question),
		status:    Status{Questions: make(map[Outcome]uint64)},
	}
	for _, outcome := range Outcomes() {
		c.status.Questions[outcome] = 0
	}
	if opts.Now == nil {
		c.opts.Now = time.Now
	}
	transport.MaxIdleConnsPerHost = maxUnderWay
	if cfg.CertificateFile != "" {
		transport.TLSClientConfig.GetClientCertificate = c.certificate
	}
	c.http = &http.Client{
		Transport: transport,
		// A question holds a token and a secret, which nobody may send elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	rand.Read(c.secret[:]) // never fails: crypto/rand ends the process instead
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Close ends all questions and waits for that. It may be called repeatedly.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	c.idle()
	return nil
}

// Ask gives the issuer's answer about a token, which may be up to a second old, and
// up to 5 seconds if the token was not active. known: it was active when it was last
// asked about. Ask waits 5 seconds at most, or until ctx ends, and fails with an
// [*UnavailableError] only.
func (c *Client) Ask(ctx context.Context, token string, known bool) (*Answer, error) {
	q, err := c.join(token, known)
	if err != nil {
		return nil, err
	}
	select {
	case <-q.done:
		return q.answer, q.err
	case <-ctx.Done():
		return nil, unavailable(time.Second, context.Cause(ctx))
	}
}

// join gives the question about a token that is under way or was just answered, or
// begins one.
func (c *Client) join(token string, known bool) (*question, error) {
	sum, now := c.hash(token), c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.questions[sum]; q != nil && (!q.ended || now.Before(q.until)) {
		return q, nil
	}
	switch {
	case c.closed:
		return nil, unavailable(time.Second, errClosed)
	case now.Before(c.heldUntil):
		return nil, unavailable(c.heldUntil.Sub(now), errHeld)
	case c.open >= maxWaiting && !known, c.open >= 2*maxWaiting:
		return nil, unavailable(time.Second, errTooMany)
	}
	q := &question{done: make(chan struct{})}
	c.questions[sum] = q
	c.open++
	c.work.Go(func() {
		q.answer, q.err = c.pose(token, known)
		c.end(sum, q)
	})
	return q, nil
}

// pose waits for the question's turn and asks.
func (c *Client) pose(token string, known bool) (*Answer, error) {
	ctx, cancel := context.WithTimeout(c.ctx, askLimit)
	defer cancel()
	line := c.strangers
	if known {
		line = c.known
	}
	select {
	case line <- struct{}{}:
		defer func() { <-line }()
	case <-ctx.Done():
		if c.ctx.Err() != nil {
			return nil, unavailable(time.Second, errClosed)
		}
		return nil, unavailable(time.Second, errNoTurn)
	}
	if err := c.mayAsk(known); err != nil {
		return nil, err
	}
	began := c.opts.Now()
	start := time.Now()
	answer, hold, err := c.ask(ctx, token)
	took := time.Since(start)
	if answer != nil {
		answer.AskedAt, answer.Took = began, took
	}
	if err != nil || !answer.Active {
		c.bad.ReserveN(began, 1) // may be in debt
	}
	c.note(answer, err, took)
	if err == nil {
		return answer, nil
	}
	if hold = min(hold, maxHold); hold > 0 { // if the issuer asks to be left alone, it is
		c.mu.Lock()
		defer c.mu.Unlock()
		if until := c.opts.Now().Add(hold); until.After(c.heldUntil) {
			c.heldUntil = until
		}
	}
	return nil, unavailable(hold, err)
}

// mayAsk is an error if the issuer is not to be asked now.
func (c *Client) mayAsk(known bool) error {
	now := c.opts.Now()
	c.mu.Lock()
	left := c.heldUntil.Sub(now)
	c.mu.Unlock()
	switch {
	case left > 0:
		return unavailable(left, errHeld)
	case !known && c.bad.TokensAt(now) < 1:
		return c.limited()
	}
	return nil
}

func (c *Client) limited() error {
	if c.opts.Count != nil {
		c.opts.Count(Limited, 0)
	}
	c.mu.Lock()
	c.status.Questions[Limited]++
	c.mu.Unlock()
	return unavailable(time.Second, errBadRate)
}

func unavailable(after time.Duration, cause error) error {
	after = (max(after, time.Second) + time.Second - 1).Truncate(time.Second) // Retry-After counts whole seconds
	return &UnavailableError{RetryAfter: after, Err: cause}
}
