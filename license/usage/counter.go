// Package usage counts what the limits of a license are about: the people who used a
// deployment within 30 days, over all nodes that share its storage.
//
// Nothing of a person is kept but a keyed hash of issuer and subject, and the day on
// which that person was last seen. The key is the deployment's own, so nobody else can
// tell from the records who was there.
//
// Records in storage are a set that grows: nodes add what they have seen, and a day
// only moves on. So no lock is needed, a write that is lost is made again, and an
// emptied storage is filled again by the nodes that run.
//
// What a limit means for a request, HTTP and logs have no place here.
package usage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

const (
	// Days is for how many days a person counts after they were last seen.
	Days = 30

	// MaxPeople bounds the people that are counted; who comes then is let in and not
	// counted.
	MaxPeople = 1 << 20

	shards   = 16
	hashSize = 16
	day      = 24 * time.Hour
)

// person is the keyed hash of an issuer and a subject, cut to 128 bits.
type person [hashSize]byte

// shard holds the people whose hash begins alike.
type shard struct {
	mu   sync.Mutex
	seen map[person]uint32 // the day on which they were last seen, since 1970
	owes bool              // storage may lack something
}

// Host is what a running configuration gives a counter.
type Host struct {
	// Storage keeps the records.
	Storage storage.Storage
	// Secret gives the deployment's secret, which all nodes share. It may wait for
	// storage.
	Secret func(context.Context) ([]byte, error)
	// Counts tells whether people are to be counted now: without, nothing is read
	// or written.
	Counts func() bool
	// Refresh is how soon a person who is new at another node is known here, at
	// most ten times that.
	Refresh time.Duration
	// Unavailable is called when storage cannot be read or written, and with nil when
	// it can be again. May be nil.
	Unavailable func(error)
}

// Counter counts people, here and over nodes. It is meant to outlive a change of
// configuration: see [Counter.Attach]. Methods are safe for concurrent use.
type Counter struct {
	now    func() time.Time
	secret atomic.Pointer[[]byte]
	shards [shards]shard
	count  atomic.Int64
	read   atomic.Bool   // storage was read, or it could not be
	first  chan struct{} // closed then
	bell   chan struct{} // storage is to be looked at

	// guards what new people are let in by, so that a limit is kept by this node.
	entering sync.Mutex

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	leases storage.Leases[Host]

	mu      sync.Mutex
	running bool
	closed  bool

	// Of the one goroutine that works.
	polled time.Time
	away   bool
}

// New makes a counter. It starts nothing and does not touch storage. now is the clock;
// nil: time.Now.
func New(now func() time.Time) *Counter {
	if now == nil {
		now = time.Now
	}
	c := &Counter{now: now, first: make(chan struct{}), bell: make(chan struct{}, 1)}
	for i := range c.shards {
		c.shards[i].seen = make(map[person]uint32)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Attach tells the counter that a configuration started: from now on it uses that
// storage. detach ends that, and first writes who is new, for two seconds at most; it
// may be called repeatedly. The first Attach starts the background work.
func (c *Counter) Attach(h Host) (detach func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return func() {}
	}
	lease := c.leases.Attach(c.ctx, storage.NewClient(h.Storage, 0), h)
	if !c.running {
		c.running = true
		c.work.Go(c.run)
	}
	c.Wake()
	return func() {
		if lease.Use() {
			c.flush(lease)
			lease.Done()
		}
		lease.Detach()
		c.Wake()
	}
}

// Close ends the background work and waits for it. It may be called repeatedly.
func (c *Counter) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	return nil
}

// Wake has the counter look at storage now: somebody new came, or what it counts for is
// another license.
func (c *Counter) Wake() {
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// Count is the number of people who were seen within 30 days.
func (c *Counter) Count() int { return int(c.count.Load()) }

// Outcome says what became of a person.
type Outcome uint8

// The outcomes.
const (
	// Unknown: the people cannot be counted yet, or there are too many.
	Unknown Outcome = iota
	// Counted: they count, and did so before, or are within the limit.
	Counted
	// Over: they count, and are over the limit.
	Over
	// Refused: they are over the limit, and do not count.
	Refused
)

// See notes that a person is here. If they are new and that makes more people than
// most, they are refused where deny is set. Who counted within 30 days is never
// refused.
func (c *Counter) See(issuer, subject string, most int64, deny bool) Outcome {
	secret := c.secret.Load()
	if secret == nil {
		return Unknown
	}
	who, today := hash(*secret, issuer, subject), c.today()
	s := &c.shards[who[0]>>4]
	if s.meet(who, today) {
		return Counted
	}
	c.entering.Lock()
	defer c.entering.Unlock()
	count := c.count.Load()
	switch {
	case count >= MaxPeople:
		return Unknown
	case deny && count >= most:
		return Refused
	}
	if s.add(who, today) {
		count = c.count.Add(1)
	}
	c.Wake()
	if count > most {
		return Over
	}
	return Counted
}

// meet moves on the day of somebody who counts, and reports whether they do.
func (s *shard) meet(who person, today uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.seen[who]
	if !known || last+Days < today {
		return false
	}
	if last < today {
		s.seen[who], s.owes = today, true
	}
	return true
}

// add takes somebody in, and reports whether they are new.
func (s *shard) add(who person, today uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.seen[who]
	s.seen[who], s.owes = today, true
	return !known
}

// hash is HMAC-SHA256 (RFC 2104), cut to its first half. A zero byte, which no name of
// an issuer holds, ends the first name.
func hash(secret []byte, issuer, subject string) person {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(issuer))
	mac.Write([]byte{0})
	mac.Write([]byte(subject))
	return person(mac.Sum(nil)[:hashSize])
}

// today is the day since 1970, in UTC.
func (c *Counter) today() uint32 { return uint32(c.now().Unix() / int64(day/time.Second)) } //nolint:gosec // until 11 million years from now

// Ready reports whether storage was looked into for those who were seen before; first
// is closed then.
func (c *Counter) Ready() (ready bool, first <-chan struct{}) { return c.read.Load(), c.first }
