package active

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of [Host.Refresh].
const (
	// DefaultRefresh is the time between two looks into storage.
	DefaultRefresh = time.Second
	// MinRefresh is the floor of that time.
	MinRefresh = 10 * time.Millisecond
)

// Host is what the running configuration lends a keeper.
type Host struct {
	// Storage keeps the installed license and the highest time seen. nil: no
	// license can be installed, and a clock set back is seen only while the
	// process runs.
	Storage Storage
	// Observe is told what happens, one event at a time and in order. It must
	// return soon and must not call Install, Close or detach. May be nil.
	Observe func(Event)
	// Refresh is the time between two looks at what other nodes installed, varied
	// by a tenth. Zero: one second.
	Refresh time.Duration
}

// hosting is one configuration's attachment.
type hosting struct {
	host   Host
	vault  vault
	ctx    context.Context // ends when it detaches
	cancel context.CancelFunc
	using  sync.WaitGroup // of writes
}

// Attach tells the keeper that a configuration started: from now on it uses that
// storage and tells that observer. detach ends that, and the configuration
// attached before is used again; it may be called repeatedly. It waits, two
// seconds at most, for a write that is under way. The first Attach starts the
// background work.
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
	host := &hosting{host: h, vault: vault{h.Storage, new(atomic.Int32)}}
	host.ctx, host.cancel = context.WithCancel(k.ctx)
	k.hosts = append(k.hosts, host)
	k.start()
	k.ringAll()
	return func() { k.detach(host) }
}

// start begins the background work, once; k.mu is held.
func (k *Keeper) start() {
	if k.running {
		return
	}
	k.running = true
	k.work.Go(func() { k.repeat(k.notifiers, k.notify) })
	k.work.Go(func() { k.repeat(k.clocks, k.keepClock) })
	switch k.source.kind {
	case file:
		k.work.Go(func() { k.repeat(k.watches, k.watchFile) })
	case installed:
		k.work.Go(func() { k.repeat(k.watches, k.pull) })
	}
}

// detachLimit is how long a write under way may hold up a detach.
const detachLimit = 2 * time.Second

func (k *Keeper) detach(host *hosting) {
	k.mu.Lock()
	k.hosts = slices.DeleteFunc(k.hosts, func(h *hosting) bool { return h == host })
	k.mu.Unlock()
	defer k.ringAll()
	defer host.cancel()
	ended := make(chan struct{})
	go func() {
		host.using.Wait() // ends with the write, which ends soon after cancel
		close(ended)
	}()
	limit := time.NewTimer(detachLimit)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
	}
}

// newest is the host in use, nil if there is none; k.mu is held.
func (k *Keeper) newest() *hosting {
	if len(k.hosts) == 0 {
		return nil
	}
	return k.hosts[len(k.hosts)-1]
}

// current is the host in use, nil if there is none or it has no storage; attached
// tells these two apart.
func (k *Keeper) current() (h *hosting, attached bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h = k.newest()
	if h == nil || h.host.Storage == nil {
		return nil, h != nil
	}
	return h, true
}

// use is the host in use, kept from being detached until using.Done; nil if there
// is no storage.
func (k *Keeper) use() *hosting {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.newest()
	if h == nil || h.host.Storage == nil {
		return nil
	}
	h.using.Add(1)
	return h
}

func (k *Keeper) ringAll() {
	k.notifiers.ring()
	k.watches.ring()
	k.clocks.ring()
}

// bell wakes one goroutine; ringing it twice before it wakes is ringing it once.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// idle is how long to wait for a bell when there is nothing to do.
const idle = time.Hour

// repeat calls f at once, when the bell rings, and after the time that f
// returned, until Close.
func (k *Keeper) repeat(b bell, f func() time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for k.ctx.Err() == nil {
		select {
		case <-k.ctx.Done():
			return
		case <-timer.C:
		case <-b:
		}
		timer.Reset(f())
	}
}

// spread varies d by up to a tenth either way.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // not a secret
}
