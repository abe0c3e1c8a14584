package secevent

import (
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

// An event that is answered is durable: whoever reads the storage afterwards finds it.
// Sent again it changes nothing, not even what an operator has deleted meanwhile.
func TestEventsAreDurable(t *testing.T) {
	key, e := newSigner(t, "key"), faultstorage.New(faultstorage.Faults{})
	first, _, last := receiver(t, config(publish(t, key)), e)
	token, byLogout := key.token(typSET, set(revokedSession, object{})), key.token(typLogout, logout())
	if outcome, err := first.SET(t.Context(), token); err != nil || outcome != Revoked {
		t.Fatalf("got %s, %v", outcome, err)
	}
	if err := first.Logout(t.Context(), byLogout); err != nil {
		t.Fatal(err)
	}
	if what := last(); what.Kind != BackChannelLogout || what.Outcome != Revoked || len(what.Subjects) != 1 || what.Subjects[0] != session {
		t.Errorf("observed %+v", what)
	}

	second, revoked, _ := receiver(t, config(publish(t, key)), e.Clone())
	awaitLoaded(t, revoked, second.memory)
	found := revoked.Find(revocation.Key{Issuer: ours, Target: revocation.Subject, Name: "alice"})
	if found == nil || found.IssuedBefore != now.Unix() || found.By() != "issuer ours" || found.Expires != now.Add(24*time.Hour+30*time.Second).Unix() {
		t.Fatalf("found %+v", found)
	}
	if _, err := revoked.Delete(t.Context(), found.ID()); err != nil {
		t.Fatal(err)
	}
	if outcome, err := second.SET(t.Context(), token); err != nil || outcome != Repeated {
		t.Errorf("again: got %s, %v", outcome, err)
	}
	if refusal := (*Refusal)(nil); !errors.As(second.Logout(t.Context(), byLogout), &refusal) {
		t.Error("a logout token is taken twice")
	}
	if revoked.Find(revocation.Key{Issuer: ours, Target: revocation.Subject, Name: "alice"}) != nil {
		t.Error("what an operator deleted is revoked again")
	}
}

// One transmitter may send the same event for two issuers, and an issuer may say the
// same in two ways, under one id: neither is taken for the other.
func TestOneIDInSeveralWays(t *testing.T) {
	key, e := newSigner(t, "key"), faultstorage.New(faultstorage.Faults{})
	r, revoked, _ := receiver(t, config(publish(t, key)), e)
	other := config(publish(t, key))
	other.Issuer, other.Transmitter = theirs, ours
	second := NewReceiver(sourceOf(t, other), revoked, r.memory, nil)
	token := key.token(typSET, set(revokedSession, object{}), object{"jti": "1", "sub_id": object{"format": "opaque", "id": "alice"}})
	for _, to := range []*Receiver{r, second} {
		if outcome, err := to.SET(t.Context(), token); err != nil || outcome != Revoked {
			t.Errorf("got %s, %v", outcome, err)
		}
	}
	if err := r.Logout(t.Context(), key.token(typLogout, logout(), object{"jti": "1"})); err != nil {
		t.Error(err)
	}
	for _, k := range []revocation.Key{{Issuer: ours, Target: revocation.Subject, Name: "alice"}, {Issuer: theirs, Target: revocation.Subject, Name: "alice"}, {Issuer: ours, Target: revocation.Session, Name: "session-1"}} {
		if revoked.Find(k) == nil {
			t.Errorf("%+v is not revoked", k)
		}
	}
}
