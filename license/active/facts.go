package active

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// Facts are what a license's validity depends on beside the license and the clock.
// They are given to a verifier ([Facts.Extend]) and to the keeper that learns them.
// The zero value knows nothing yet. Asking takes no lock and no memory.
type Facts struct {
	revocations license.Revocations
	instance    atomic.Pointer[Instance]
}

// Extend has a verifier ask the facts.
func (f *Facts) Extend(c license.Config) license.Config {
	c.Revocations, c.Instance = &f.revocations, f.fingerprint
	return c
}

func (f *Facts) fingerprint() string {
	if i := f.instance.Load(); i != nil {
		return i.Fingerprint()
	}
	return ""
}

// Informed reports whether storage was first looked into for the facts: before, a
// license that is bound to an instance seems to be another's, and one that is revoked
// does not seem so.
func (k *Keeper) Informed() bool { return k.informed.Load() }

// AwaitFacts waits until [Keeper.Informed]. Its error is the context's, or
// [ErrClosed].
func (k *Keeper) AwaitFacts(ctx context.Context) error {
	if k.Informed() {
		return nil
	}
	select {
	case <-k.firstFacts:
		return nil
	case <-k.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	factsTopic = "facts"
	factsEvery = 10 * time.Minute // between two looks at the instance in storage
)

// keepInstance reads the instance from storage, and puts it there again if it is gone.
func (k *Keeper) keepInstance() time.Duration {
	h := k.leases.Newest()
	switch {
	case h == nil:
		return idle
	case !h.HasStorage():
		k.endFirstFacts()
		return idle
	}
	err := k.syncInstance(h)
	if h.Context().Err() != nil {
		return 0 // it detached meanwhile; perhaps another one is there
	}
	k.outage(factsTopic, err)
	k.endFirstFacts()
	if err != nil {
		return spread(h.Host.Refresh)
	}
	return spread(factsEvery)
}

// endFirstFacts counts one of the first looks as ended.
func (k *Keeper) endFirstFacts() {
	if k.revocations == nil || k.revocationsRead.Load() {
		if k.facts.instance.Load() != nil || k.instanceRead.Load() {
			if k.informed.CompareAndSwap(false, true) {
				close(k.firstFacts)
			}
		}
	}
	ring(k.notifierBell)
}

func (k *Keeper) syncInstance(h *storage.Lease[Host]) error {
	defer k.instanceRead.Store(true)
	data, err := h.Find(h.Context(), instanceKey)
	known := k.facts.instance.Load()
	switch {
	case err == nil:
		return k.takeInstance(data)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case known != nil:
		return h.StoreChecked(h.Context(), instanceKey, known.encode())
	}
	return nil
}

// takeInstance takes what storage has, which all nodes share.
func (k *Keeper) takeInstance(data []byte) error {
	found, err := parseInstance(data)
	if err != nil {
		return err
	}
	if known := k.facts.instance.Load(); known == nil || known.Fingerprint() != found.Fingerprint() {
		k.facts.instance.Store(found)
	}
	return nil
}
