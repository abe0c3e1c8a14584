package secevent

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/time/rate"

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

// An event whose turn would come too late is not lost: it is to be sent again, which its
// sender hears at once. One that was carried out is answered.
func TestEventsWaitForTheirTurn(t *testing.T) {
	key, e := newSigner(t, "key"), faultstorage.New(faultstorage.Faults{})
	c := config(publish(t, key))
	c.Pace = rate.NewLimiter(rate.Every(2*turnLimit), 1)
	taker, revoked, last := receiver(t, c, e)
	awaitLoaded(t, revoked, taker.memory)
	ctx, cancel := context.WithTimeout(t.Context(), turnLimit/2)
	defer cancel()
	first, second := key.token(typSET, set(revokedSession, object{})), key.token(typSET, set(revokedSession, object{}), object{"jti": "2"})
	if outcome, err := taker.SET(ctx, first); err != nil || outcome != Revoked {
		t.Errorf("got %s, %v", outcome, err)
	}
	if _, err := taker.SET(ctx, second); err == nil || errors.As(err, new(*Refusal)) || last().Outcome != Failed || ctx.Err() != nil {
		t.Errorf("got %v, and observed %+v; want that it failed at once", err, last())
	}
	c.Pace.SetLimit(rate.Inf)
	if outcome, err := taker.SET(ctx, second); err != nil || outcome == Failed {
		t.Errorf("got %s, %v when it was sent again", outcome, err)
	}
}
