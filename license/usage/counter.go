package usage

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// folder keeps the records; no other folder's name begins like it.
const folder = "gatehouse/usage"

const (
	// pollEvery is how many refresh intervals lie between two looks at all records.
	pollEvery = 10
	idle      = time.Hour
	// parallel bounds the calls of storage at once.
	parallel = 4
	// flushLimit bounds the last writes of a configuration.
	flushLimit = 2 * time.Second
)

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
// configuration: see [Counter.Attach].
type Counter struct {
	*People

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
	c := &Counter{People: newPeople(now)}
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
	c.ring()
	return func() {
		if lease.Use() {
			c.flush(lease)
			lease.Done()
		}
		lease.Detach()
		c.ring()
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

// Wake has the counter look at storage now: what it counts for is another license.
func (c *Counter) Wake() { c.ring() }

func (c *Counter) ring() {
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

func (c *Counter) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		case <-c.bell:
			if c.People.read.Load() && c.pause() != nil {
				return
			}
		}
		timer.Reset(c.sync())
	}
}

// pause gathers those who come together, so that they are written together.
func (c *Counter) pause() error {
	wait := 10 * time.Millisecond
	if h := c.leases.Newest(); h != nil {
		wait = h.Host.Refresh / 4
	}
	return storage.Pause(c.ctx, wait)
}

// sync brings memory and storage together, and says when to do so next.
func (c *Counter) sync() time.Duration {
	h := c.leases.Newest()
	if h == nil {
		return idle
	}
	every := storage.Spread(h.Host.Refresh, 0.1)
	if !h.Host.Counts() {
		return every
	}
	err := c.syncWith(h)
	if h.Context().Err() != nil {
		return 0 // it detached meanwhile; perhaps another one is there
	}
	if c.People.read.CompareAndSwap(false, true) {
		close(c.People.first)
	}
	if (err != nil) != c.away && h.Host.Unavailable != nil {
		h.Host.Unavailable(err)
	}
	c.away = err != nil
	return every
}

func (c *Counter) syncWith(h *storage.Lease[Host]) error {
	if c.People.secret.Load() == nil {
		secret, err := h.Host.Secret(h.Context())
		if err != nil {
			return err
		}
		c.People.secret.Store(&secret)
	}
	all := c.now().Sub(c.polled).Abs() >= pollEvery*h.Host.Refresh
	err := c.syncShards(h.Context(), h, all)
	if err == nil && all {
		c.polled = c.now()
	}
	return err
}

// flush writes who is new before the storage goes.
func (c *Counter) flush(h *storage.Lease[Host]) {
	ctx, cancel := context.WithTimeout(h.Context(), flushLimit)
	defer cancel()
	if err := c.syncShards(ctx, h, false); err != nil && h.Host.Unavailable != nil {
		h.Host.Unavailable(err)
	}
}

// syncShards brings all shards together with storage, or those alone that owe it
// something.
func (c *Counter) syncShards(ctx context.Context, h *storage.Lease[Host], all bool) error {
	return storage.Each(shards, parallel, func(number int) error {
		s := &c.People.shards[number]
		s.mu.Lock()
		owes := s.owes
		s.mu.Unlock()
		if !owes && !all {
			return nil
		}
		return c.syncShard(ctx, h, number)
	})
}

// syncShard takes what storage has and writes what it lacks.
func (c *Counter) syncShard(ctx context.Context, h *storage.Lease[Host], number int) error {
	key := keyOf(number)
	data, err := h.Load(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	stored, err := decode(data, number)
	if err != nil {
		stored = nil // there is none, or it is damaged, and is written anew
	}
	mine := c.merge(number, stored)
	if len(mine) == 0 && len(data) == 0 {
		return nil
	}
	if next := encode(mine); !bytes.Equal(next, data) {
		if err := h.StoreChecked(ctx, key, next); err != nil && !errors.Is(err, storage.ErrReadBack) {
			c.owe(number)
			return err
		}
		// What another node wrote at the same time is found at the next look, and so
		// is what it overwrote.
	}
	return nil
}

func (c *Counter) owe(number int) {
	s := &c.People.shards[number]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owes = true
}

// merge takes in who was seen elsewhere, forgets who was not seen for long, and gives
// all who count.
func (c *Counter) merge(number int, stored map[person]uint32) map[person]uint32 {
	s, today := &c.People.shards[number], c.today()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.seen)
	for who, last := range stored {
		if last = min(last, today+1); last > s.seen[who] { // a clock may be ahead
			s.seen[who] = last
		}
	}
	all := make(map[person]uint32, len(s.seen))
	for who, last := range s.seen {
		if last+Days < today {
			delete(s.seen, who)
			continue
		}
		all[who] = last
	}
	s.owes = false
	c.People.count.Add(int64(len(s.seen) - before))
	return all
}
