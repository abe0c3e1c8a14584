package secevent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

func awaitLoaded(t *testing.T, revoked *revocation.Registry, memory *Memory) {
	t.Helper()
	if err := errors.Join(revoked.Await(t.Context()), memory.Await(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// With storage away, or none yet, the sender is asked to send the event again; then it
// is taken.
func TestStorageAway(t *testing.T) {
	key, e := newSigner(t, "key"), faultstorage.New(faultstorage.Faults{})
	r, revoked, last := receiver(t, config(publish(t, key)), e)
	awaitLoaded(t, revoked, r.memory)
	token := key.token(typSET, set(revokedSession, object{}))
	e.SetDown(true)
	outcome, err := r.SET(t.Context(), token)
	if !errors.Is(err, registry.ErrBusy) || outcome != Failed || last().Outcome != Failed {
		t.Fatalf("got %s, %v", outcome, err)
	}
	e.SetDown(false)
	for range 100 {
		if outcome, err = r.SET(t.Context(), token); err == nil {
			break
		}
	}
	if err != nil || outcome != Revoked && outcome != NoEffect {
		t.Errorf("got %s, %v", outcome, err)
	}
	if revoked.Find(revocation.Key{Issuer: ours, Target: revocation.Subject, Name: "alice"}) == nil {
		t.Error("it is not revoked")
	}
}

// A refusal, and an event without effect, leave nothing behind.
func TestNothingComesOfARefusal(t *testing.T) {
	key, e := newSigner(t, "key"), faultstorage.New(faultstorage.Faults{})
	r, revoked, last := receiver(t, config(publish(t, key)), e)
	awaitLoaded(t, revoked, r.memory)
	if outcome, err := r.SET(t.Context(), newSigner(t, "key").token(typSET, set(revokedSession, object{}))); err == nil || outcome != Refused || last().Kind != SessionRevoked {
		t.Errorf("got %s, %v", outcome, err)
	}
	if outcome, err := r.SET(t.Context(), key.token(typSET, set("https://example.com/unknown", object{}))); err != nil || outcome != NoEffect {
		t.Errorf("got %s, %v", outcome, err)
	}
	if n := revoked.Count() + r.memory.Snapshot().Len(); n != 0 {
		t.Errorf("%d records were made", n)
	}
}

// An event whose turn does not come within its sender's time is not lost: it is to be
// sent again.
func TestEventsWaitForTheirTurn(t *testing.T) {
	key, e := newSigner(t, "key"), faultstorage.New(faultstorage.Faults{})
	taker, revoked, last := receiver(t, config(publish(t, key)), e)
	awaitLoaded(t, revoked, taker.memory)
	for range int(pace.Limit() / 10) { // the next tenth of a second is taken
		pace.Reserve()
	}
	token := key.token(typSET, set(revokedSession, object{}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := taker.SET(ctx, token); err == nil || errors.As(err, new(*Refusal)) || last().Outcome != Failed {
		t.Errorf("got %v, and observed %+v; want that it failed", err, last())
	}
	if outcome, err := taker.SET(t.Context(), token); err != nil || outcome != Revoked {
		t.Errorf("got %s, %v when it was sent again", outcome, err)
	}
}
