package active

import (
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Storage is what is needed of a certmagic.Storage; every one of those is one. It
// may be slow, away, or wrong in the ways that the package comment tells.
type Storage = storage.Storage

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

// Attach tells the keeper that a configuration started: from now on it uses that
// storage and tells that observer. detach ends that, and the configuration
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
		k.start()
	}
	k.ringAll()
	return func() {
		lease.Detach()
		k.ringAll()
	}
}

// start begins the background work.
func (k *Keeper) start() {
	k.work.Go(func() { k.repeat(k.notifierBell, k.notify) })
	k.work.Go(func() { k.repeat(k.clockBell, k.keepClock) })
	switch k.source.kind {
	case file:
		k.work.Go(func() { k.repeat(k.watcherBell, k.watchFile) })
	case installed:
		k.work.Go(func() { k.repeat(k.watcherBell, k.watchStorage) })
	}
}

func (k *Keeper) ringAll() {
	ring(k.notifierBell)
	ring(k.watcherBell)
	ring(k.clockBell)
}

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
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
