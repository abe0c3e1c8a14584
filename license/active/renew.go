package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

const (
	// renewPart is the part of a license's time that is left when it is first
	// renewed.
	renewPart = 3
	// stampedBack is how long before its making a license says that it was issued.
	stampedBack = time.Hour
	// renewLimit is how long the vendor may take to answer.
	renewLimit = 30 * time.Second
	// renewRetry is the pause after a failure, which doubles up to maxRenewRetry.
	renewRetry    = time.Minute
	maxRenewRetry = time.Hour
)

// RenewalStatus describes how the license is renewed.
type RenewalStatus struct {
	// Next is when the vendor is asked next, in Unix seconds; 0: not known.
	Next int64 `json:"next"`
	// TriedAt and RenewedAt are Unix seconds, of this node since it started; 0: never.
	TriedAt   int64 `json:"tried_at"`
	RenewedAt int64 `json:"renewed_at"`
	// Failures counts the tries in a row that came to nothing.
	Failures int `json:"failures"`
	// Error says why the last try came to nothing; empty: it did not.
	Error string `json:"error"`
	// KeptAside: the vendor sent a license that is not taken. It is in storage.
	KeptAside bool `json:"kept_aside"`
}

// Renewal describes how the license is renewed; false: it is not.
func (k *Keeper) Renewal() (s RenewalStatus, configured bool) {
	if k.askVendor == nil {
		return s, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s = k.renewal.RenewalStatus
	if at, ok := k.renewAt(); ok {
		s.Next = at.Unix()
	}
	return s, true
}

// renewAt is when the license in force is to be renewed next; k.mu is held. It is due
// when a third of its time is left, a tenth of that sooner or later, so that nodes and
// deployments do not ask together.
func (k *Keeper) renewAt() (at time.Time, ok bool) {
	held := k.view.Load().now()
	l := held.validity.License()
	if held.text == nil || l == nil || l.Payload.ID == "" {
		return time.Time{}, false
	}
	p, r := &l.Payload, &k.renewal
	if r.of != p.ExpireAt {
		r.of, r.jitter = p.ExpireAt, float64(storage.Spread(1000, 0.1))/1000
	}
	whole := time.Duration(p.ExpireAt-p.IssuedAt) * time.Second
	if whole > stampedBack && whole <= 3*stampedBack {
		whole -= stampedBack // else a short one would be due at once
	}
	left := time.Duration(float64(whole) / renewPart * r.jitter)
	at = time.Unix(p.ExpireAt, 0).Add(-left)
	if r.Failures == 0 {
		return at, true
	}
	pause := renewRetry
	for range min(r.Failures-1, 10) {
		pause = min(2*pause, maxRenewRetry)
	}
	again := time.Unix(r.TriedAt, 0).Add(time.Duration(float64(pause) * r.jitter))
	if again.After(at) {
		at = again
	}
	return at, true
}

// keepRenewed renews the license in force when it is time.
func (k *Keeper) keepRenewed() time.Duration {
	h := k.leases.Newest()
	if h == nil {
		return idle
	}
	k.mu.Lock()
	at, ok := k.renewAt()
	held := *k.view.Load().now()
	k.mu.Unlock()
	if !ok {
		return notifyPause // until one is installed
	}
	if wait := at.Sub(k.now()); wait > 0 {
		return min(wait, notifyPause) // a clock may be set, a license installed
	}
	fault, aside := k.renew(h.Context(), held)
	if h.Context().Err() != nil {
		return 0
	}
	k.reportRenewal(fault, aside)
	return time.Second
}

var errNotLonger = errors.New("the vendor has no license that lasts longer")

// renew asks the vendor, and puts a good answer in force.
func (k *Keeper) renew(ctx context.Context, held held) (fault error, aside bool) { //nolint:revive // aside tells of the fault
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	instance, err := k.MakeInstance(ctx)
	if err != nil {
		return fmt.Errorf("the key of this deployment cannot be read: %w", err), false
	}
	data, err := k.askVendor(ctx, held.validity.License(), instance)
	if err != nil {
		return err, false
	}
	if bytes.Equal(data, held.text) {
		return errNotLonger, false
	}
	found := k.verifier.Open(data)
	why := ""
	if err := found.Err(); err != nil {
		why = err.Error()
	} else {
		why = held.validity.Worse(found)
	}
	if why != "" {
		if h := k.leases.Newest(); h != nil && len(data) > 0 && len(data) <= license.MaxSize {
			k.outage("aside", h.Store(ctx, asideKey, data)) // for an operator to look at
		}
		return errors.New("what the vendor sent is kept aside: " + why), true
	}
	if found.License().Payload.ExpireAt == held.validity.License().Payload.ExpireAt {
		return errNotLonger, false
	}
	return k.Install(ctx, data), false
}

// reportRenewal notes what became of a try, each thing once.
func (k *Keeper) reportRenewal(fault error, aside bool) {
	defer ring(k.notifierBell)
	k.mu.Lock()
	defer k.mu.Unlock()
	r := &k.renewal
	r.TriedAt = k.now().Unix()
	if fault == nil {
		r.RenewalStatus = RenewalStatus{TriedAt: r.TriedAt, RenewedAt: r.TriedAt}
		k.note(Event{Kind: Renewed, Validity: k.view.Load().now().validity})
		return
	}
	r.Failures++
	if fault.Error() != r.Error {
		k.note(Event{Kind: RenewalFailed, Err: fault})
	}
	r.Error, r.KeptAside = fault.Error(), aside
}
