package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// DefaultWriteLimit is how long a write waits for storage.
const DefaultWriteLimit = 15 * time.Second

// Config says what license a [Keeper] keeps.
type Config struct {
	// Source says where it comes from.
	Source Source
	// Verifier says whether to believe it. Required.
	Verifier *license.Verifier
	// Known is the text of the license that was in force before, from
	// [Keeper.Known] of another keeper with the same source: it goes on, if this
	// verifier believes it, until something better is found. nil: none.
	Known []byte
}

// Options are for tests.
type Options struct {
	// Now is the clock, which must be the verifier's; nil: time.Now.
	Now func() time.Time
	// WriteLimit is how long Install waits for storage. Zero: 15 seconds.
	WriteLimit time.Duration
}

// Keeper keeps the license in force. Its methods are safe for concurrent use.
type Keeper struct {
	source     Source
	verifier   *license.Verifier
	now        func() time.Time
	writeLimit time.Duration

	view     atomic.Pointer[view]
	notified atomic.Pointer[license.State] // the state that was told last; empty: none yet
	noticed  atomic.Bool                   // a request met another one
	suspect  atomic.Bool                   // the clock
	files    *storage.Calls                // looks at the file

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	leases storage.Leases[Host]
	events storage.Mailbox[Event]

	// Each wakes one goroutine; ringing it twice before that wakes is ringing it once.
	notifierBell, watcherBell, clockBell chan struct{}

	looked  chan struct{} // closed at the end of the first look
	writing chan struct{} // one write at a time

	mu      sync.Mutex // guards all below; never held while waiting
	closed  bool
	running bool
	outages map[string]error // by topic
	search  search
	// clock is what is known of the time, in Unix seconds: the highest that this
	// process saw, and the highest that any node saw, as storage had it.
	clock struct{ own, stored int64 }
}

// New makes a keeper and reads the license if it is in a file or in the
// configuration. Whatever is wrong with it is a state and not an error; the only
// error is a configuration without a verifier. New starts nothing and does not
// touch storage.
func New(cfg Config, opts Options) (*Keeper, error) {
	if cfg.Verifier == nil {
		return nil, errors.New("keeping a license: no verifier; want one that says whom to trust")
	}
	k := &Keeper{
		source: cfg.Source, verifier: cfg.Verifier, now: opts.Now, writeLimit: opts.WriteLimit,
		files: storage.NewCalls(0), looked: make(chan struct{}), writing: make(chan struct{}, 1),
		notifierBell: make(chan struct{}, 1), watcherBell: make(chan struct{}, 1), clockBell: make(chan struct{}, 1),
		outages: map[string]error{},
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.writeLimit <= 0 {
		k.writeLimit = DefaultWriteLimit
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.notified.Store(new(license.State))
	k.begin(cfg.Known)
	return k, nil
}

// begin sets the first view.
func (k *Keeper) begin(known []byte) {
	k.view.Store(&view{good: held{standing: license.Missing("storage has not been read yet")}})
	if s := k.verifier.Open(known); len(known) > 0 && s.Genuine() {
		k.search.seen = bytes.Clone(known)
		k.view.Store(&view{good: held{s, k.search.seen}})
	}
	switch k.source.kind {
	case file:
		data, err := readFile(k.source.value)
		k.look(data, err, 0)
	case inline:
		if strings.TrimSpace(k.source.value) == "" {
			k.look(nil, fs.ErrNotExist, 0)
		} else {
			k.look([]byte(k.source.value), nil, 0)
		}
	}
}

// Standing is what is in force at this moment, never nil. It takes no lock,
// allocates nothing and waits for nothing; a state that was not told yet is told
// soon after. It goes on after Close.
func (k *Keeper) Standing() *license.Standing {
	s := k.view.Load().now().standing
	k.notice(s.State())
	return s
}

// Check decides about a request as [license.Standing.Check] of the Standing does,
// and reads the clock once for both.
func (k *Keeper) Check(hostport string, features ...string) error {
	state, err := k.view.Load().now().standing.Judge(hostport, features...)
	k.notice(state)
	return err
}

// notice has a state told that was not told yet.
func (k *Keeper) notice(state license.State) {
	if state != *k.notified.Load() && !k.noticed.Load() && k.noticed.CompareAndSwap(false, true) {
		ring(k.notifierBell)
	}
}

// Known is the text of the license in force if it is genuine, else nil. See
// [Config.Known].
func (k *Keeper) Known() []byte { return bytes.Clone(k.view.Load().now().text) }

// Fault is what is wrong with the source of the license in force: it holds
// another one or none that lets pass, or cannot be read, so that a restart would
// lose what is in force now. nil: nothing, or no genuine license is in force, as
// its state tells. It may name a path, which is for operators.
func (k *Keeper) Fault() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.view.Load()
	now := v.now()
	switch {
	case now.text == nil:
		return nil
	case k.search.cause != nil:
		return k.search.cause
	case v.next != nil && now != v.next:
		return fmt.Errorf("what it holds now does not let pass: %w", v.next.standing.Err())
	case k.source.kind == installed && k.outages[lookTopic] != nil:
		return k.outages[lookTopic]
	}
	return nil
}

// Source is where the license comes from.
func (k *Keeper) Source() Source { return k.source }

// Looked reports whether the first look for the license has ended, or whether
// one was known beforehand. Until then nobody can say that there is none. For a
// file and for text it is true from the beginning.
func (k *Keeper) Looked() bool {
	select {
	case <-k.looked:
		return true
	default:
		return k.view.Load().good.text != nil
	}
}

// Await waits until [Keeper.Looked]. Its error is the context's, or [ErrClosed].
func (k *Keeper) Await(ctx context.Context) error {
	if k.Looked() {
		return nil
	}
	select {
	case <-k.looked:
		return nil
	case <-k.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the background work and waits for it. It may be called repeatedly.
func (k *Keeper) Close() error {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.work.Wait()
	return nil
}

// held is a license, or the lack of one, and its text if it is genuine.
type held struct {
	standing *license.Standing
	text     []byte
}

// view is what requests are answered from. It never changes.
type view struct {
	good held  // in force
	next *held // genuine, and waiting for its time or for the end of good; mostly nil
}

// now is what is in force at this moment.
func (v *view) now() *held {
	if v.next != nil && (v.next.standing.Err() == nil || v.good.standing.Err() != nil) {
		return v.next
	}
	return &v.good
}

// nextChange is the moment at which the state may next change by itself.
func (v *view) nextChange() (at time.Time, ok bool) {
	at, ok = v.good.standing.NextChange()
	if v.next == nil {
		return at, ok
	}
	if also, due := v.next.standing.NextChange(); due && (!ok || also.Before(at)) {
		return also, true
	}
	return at, ok
}
