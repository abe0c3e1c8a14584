// Package active keeps the license that is in force in a deployment.
//
// A [Keeper] finds the license where its [Source] says: in a file that it
// watches, in text of the configuration, or in storage, where [Keeper.Install]
// puts it for all nodes. [Keeper.Validity] answers requests from memory: no lock,
// no allocation, no waiting. A keeper is meant to outlive a change of
// configuration: see [Keeper.Attach].
//
// # What takes over, and what stays
//
// A license that is genuine (see [license.Validity.Genuine]) takes over at once.
// One that is not, and a file that vanishes, are reported, and the license in
// force stays until its end and its grace. A genuine license whose time has not come, or is
// over, waits behind one that lets pass, and takes over in the very moment that
// one ends or its own time comes. Bad news counts only when a second look
// confirms it: half-written files are read now and then.
//
// Without a license the state is missing or invalid. That is a state and no
// error: nothing here keeps a server from starting.
//
// # Before the first look
//
// File and text are read in [New]. Storage is first read after the first Attach;
// until then the license is missing, which may mean to refuse. As nothing is
// known yet, a caller that would refuse should wait for the first look
// ([Keeper.Looked], [Keeper.Await]), for a bounded time; it ends, found or not,
// once storage has answered or failed to. Letting pass instead would make a
// storage out of reach as good as a license.
//
// # Events
//
// The state is computed from the clock whenever it is asked for. Each change of it
// is one [Event], either soon after a request met it, or when the keeper's own
// timer does.
//
// # Storage
//
// Little is assumed of it. "Not found" is never taken for "deleted" where a license
// is known, nor for "none" until a listing agrees. A write is read back. No call is
// waited for longer than a few seconds, whatever it does about its context. Records
// do not need locks where each has a name of its own; the installed license is
// written under one.
//
// # What a license depends on besides
//
// [Facts] are the list of revoked licenses and this deployment's [Instance], an Ed25519
// key in storage. Neither is a reason to refuse while it cannot be had, except that a
// license which is bound to an instance passes on that one only.
//
// With [Config.Renew], the vendor is asked for the next license well before the end. What
// it sends takes over only if it is genuine and takes nothing away.
//
// # The clock
//
// The highest time ever seen is kept in storage, only to report a clock that is
// more than a day behind it. If a clock was once far ahead, delete
// gatehouse/license/clock.json and restart the node that it belongs to.
//
// # The record
//
// A [Record] keeps what was signed, one value in storage a signature.
//
// What never lives here: HTTP, logs, metrics, the list of sites to compare a
// license with, and private keys.
package active

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// Bounds of [Host.Refresh].
const (
	// DefaultRefresh is the time between two looks into storage.
	DefaultRefresh = time.Second
	// MinRefresh is the floor of that time.
	MinRefresh = 10 * time.Millisecond
)

// DefaultWriteLimit is how long a write waits for storage.
const DefaultWriteLimit = 15 * time.Second

// Names in storage. The folders' names do not begin alike, because some storages
// would list both for one.
const (
	folder       = "gatehouse/license"
	installedKey = folder + "/installed.json"
	clockKey     = folder + "/clock.json"
	instanceKey  = folder + "/instance.json"
	revokedKey   = folder + "/revocations.json"
	asideKey     = folder + "/kept-aside.json"
	recordFolder = "gatehouse/signed"
	lockName     = "gatehouse-license"
)

// Host is what a running configuration gives a keeper.
type Host struct {
	// Storage keeps the installed license and the highest time seen. It may be slow,
	// away, or wrong in the ways that internal/storage lists. nil: no license can
	// be installed, and a clock set back is seen only while the process runs.
	Storage storage.Storage
	// Observe is called with what happens, one event at a time and in order. It must
	// return soon and must not call Install, Close or detach. May be nil.
	Observe func(Event)
	// Refresh is the time between two looks at what other nodes installed, varied
	// by a tenth. Zero: one second.
	Refresh time.Duration
}

// Config says what license a [Keeper] keeps.
type Config struct {
	// Source says where it comes from.
	Source Source
	// Verifier says whether to trust it. Required.
	Verifier *license.Verifier
	// Facts are those that the verifier asks; nil: it asks none.
	Facts *Facts
	// Revocations is where lists of revoked licenses come from; nil: nowhere.
	Revocations *RevocationSource
	// Renew asks the vendor for the license to follow one; nil: nobody is asked. It
	// may be slow, and should give up when its context ends. The license must be
	// kept in storage.
	Renew func(ctx context.Context, held *license.License, instance *Instance) ([]byte, error)
	// Known is the text of the license that was in force before, from
	// [Keeper.Known] of another keeper with the same source: it goes on, if this
	// verifier trusts it, until something better is found. nil: none.
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
	notified atomic.Pointer[license.State] // the state that was notified last; empty: none yet
	noticed  atomic.Bool                   // a request met another one
	suspect  atomic.Bool                   // the clock

	facts           *Facts
	revocations     *RevocationSource
	askVendor       func(context.Context, *license.License, *Instance) ([]byte, error)
	informed        atomic.Bool
	instanceRead    atomic.Bool
	revocationsRead atomic.Bool
	firstFacts      chan struct{}  // closed when informed
	files           *storage.Calls // looks at the file

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	leases storage.Leases[Host]
	events storage.Mailbox[Event]

	// Each wakes one goroutine; ringing it twice before that wakes is ringing it once.
	notifierBell, watcherBell, clockBell, factsBell, revocationsBell, renewBell chan struct{}

	looked  chan struct{} // closed at the end of the first look
	writing chan struct{} // one write at a time

	mu      sync.Mutex // guards all below; never held while waiting
	closed  bool
	running bool
	outages map[string]error // by topic
	search  search
	// list is what was reported of the source of revoked licenses; empty: nothing.
	list struct {
		fault   string
		damaged string // of the stored list
		late    bool
	}
	renewal struct {
		RenewalStatus
		jitter float64
		of     int64 // expire_at of the license that jitter is for
	}
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
		factsBell: make(chan struct{}, 1), revocationsBell: make(chan struct{}, 1), renewBell: make(chan struct{}, 1),
		facts: cfg.Facts, revocations: cfg.Revocations, askVendor: cfg.Renew, firstFacts: make(chan struct{}),
		outages: map[string]error{},
	}
	if k.facts == nil {
		k.facts = new(Facts)
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.writeLimit <= 0 {
		k.writeLimit = DefaultWriteLimit
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.notified.Store(new(license.State))
	k.view.Store(&view{good: held{validity: license.Missing("storage has not been read yet")}})
	if s := k.verifier.Open(cfg.Known); len(cfg.Known) > 0 && s.Genuine() {
		k.search.seen = bytes.Clone(cfg.Known)
		k.view.Store(&view{good: held{s, k.search.seen}})
	}
	switch k.source.kind {
	case file:
		data, err := readBounded(k.source.value, license.MaxSize)
		k.look(data, err, 0)
	case inline:
		if strings.TrimSpace(k.source.value) == "" {
			k.look(nil, fs.ErrNotExist, 0)
		} else {
			k.look([]byte(k.source.value), nil, 0)
		}
	}
	return k, nil
}

// Attach tells the keeper that a configuration started: from now on it uses that
// storage and that observer. detach ends that, and the configuration
// attached before is used again; it may be called repeatedly. It waits, two
// seconds at most, for a write that is under way, and another one for other calls
// of the storage. The first Attach starts the background work.
func (k *Keeper) Attach(h Host) (detach func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return func() {}
	}
	if h.Refresh == 0 {
		h.Refresh = DefaultRefresh
	}
	h.Refresh = max(h.Refresh, MinRefresh)
	lease := k.leases.Attach(k.ctx, storage.NewClient(h.Storage, 0), h)
	if !k.running {
		k.running = true
		k.work.Go(func() { k.repeat(k.notifierBell, k.notify) })
		k.work.Go(func() { k.repeat(k.clockBell, k.keepClock) })
		k.work.Go(func() { k.repeat(k.factsBell, k.keepInstance) })
		if k.revocations != nil {
			k.work.Go(func() { k.repeat(k.revocationsBell, k.keepRevocations) })
		}
		if k.askVendor != nil {
			k.work.Go(func() { k.repeat(k.renewBell, k.keepRenewed) })
		}
		switch k.source.kind {
		case file:
			k.work.Go(func() { k.repeat(k.watcherBell, k.watchFile) })
		case installed:
			k.work.Go(func() { k.repeat(k.watcherBell, k.watchStorage) })
		}
	}
	k.ringAll()
	return func() {
		lease.Detach()
		k.ringAll()
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

// idle is how long to wait for a bell when there is nothing to do.
const idle = time.Hour

// repeat calls f at once, when the bell rings, and after the time that f
// returned, until Close.
func (k *Keeper) repeat(bell <-chan struct{}, f func() time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for k.ctx.Err() == nil {
		select {
		case <-k.ctx.Done():
			return
		case <-timer.C:
		case <-bell:
		}
		timer.Reset(f())
	}
}

func (k *Keeper) ringAll() {
	ring(k.notifierBell)
	ring(k.watcherBell)
	ring(k.clockBell)
	ring(k.factsBell)
	ring(k.revocationsBell)
	ring(k.renewBell)
}

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
