package active

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// held is a license, or the lack of one, and its text if it is genuine.
type held struct {
	validity *license.Validity
	text     []byte
}

// view is what requests are answered from. It never changes.
type view struct {
	good held  // in force
	next *held // genuine, and waiting for its time or for the end of good; mostly nil
}

// now is what is in force at this moment.
func (v *view) now() *held {
	if v.next != nil && (v.next.validity.Err() == nil || v.good.validity.Err() != nil) {
		return v.next
	}
	return &v.good
}

// nextChange is the moment at which the state may next change by itself.
func (v *view) nextChange() (at time.Time, ok bool) {
	at, ok = v.good.validity.NextChange()
	if v.next == nil {
		return at, ok
	}
	if also, due := v.next.validity.NextChange(); due && (!ok || also.Before(at)) {
		return also, true
	}
	return at, ok
}

// Validity is what is in force at this moment, never nil. It takes no lock,
// allocates nothing and waits for nothing. If the state has changed, observers are
// notified soon after. It goes on after Close.
func (k *Keeper) Validity() *license.Validity {
	s := k.view.Load().now().validity
	k.notice(s.State())
	return s
}

// Check decides about a request as [license.Validity.Check] of the Validity does,
// and reads the clock once for both.
func (k *Keeper) Check(hostport string, features ...string) error {
	state, err := k.view.Load().now().validity.Judge(hostport, features...)
	k.notice(state)
	return err
}

// notice wakes the notifier if the state is not the one that was notified last.
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
// lose what is in force now. nil: nothing, or no genuine license is in force, which
// its state shows. It may name a path, which is for operators.
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
		return fmt.Errorf("what it holds now does not let pass: %w", v.next.validity.Err())
	case k.source.kind == installed && k.outages[lookTopic] != nil:
		return k.outages[lookTopic]
	}
	return nil
}

// Open decodes and verifies another license, as the one in force was.
func (k *Keeper) Open(data []byte) *license.Validity { return k.verifier.Open(data) }

// OpenResponse opens the file of a vendor's response to a request of that id, as
// [license.KeySet.OpenOfflineResponse] does by the keys that are trusted.
func (k *Keeper) OpenResponse(data []byte, requestID string) (*license.OfflineResponse, error) {
	return k.verifier.Keys().OpenOfflineResponse(data, requestID)
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
