package issuer

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Replicas that publish different sets refuse nobody once that is noticed, and it
// is said once.
func TestReplicasThatDiffer(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a, b := edKey("a"), edKey("b")
		events := &log{}
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		e.Attach(Host{Observe: events.observe})
		for range 20 { // the replicas answer in turn
			for _, key := range []member{a, b} {
				s.rotate(key)
				if _, err := e.Await(t.Context(), holds(key["kid"].(string))); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
			}
		}
		first, second := e.JWKS().byID["a"], e.JWKS().byID["b"]
		if len(first) != 1 || len(second) != 1 || !first[0].Trusted() || !second[0].Trusted() {
			t.Fatal("not the keys of both replicas serve")
		}
		said := 0
		for _, event := range events.of(Warned) {
			if strings.Contains(event.Err.Error(), "different key sets in turn") {
				said++
			}
		}
		equal(t, "warnings", said, 1)

		// A key that an operator has fetched away is gone at once.
		s.rotate(b)
		if err := e.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if first[0].Trusted() || len(e.JWKS().byID["a"]) != 0 {
			t.Error("a key that the operator refreshed away serves on")
		}
	}, edKey("old"))
}

// A key that is missing is gone a minute later, whether or not the issuer answers.
func TestAbsentKeysServeForAMinute(t *testing.T) {
	for _, down := range []bool{false, true} {
		bubble(t, func(t *testing.T, s *site) {
			a, b := edKey("a"), edKey("b")
			e := start(t, Config{Issuer: base}, Options{Client: s.client()})
			e.Attach(Host{})
			for _, key := range []member{a, b, a, b} {
				s.rotate(key)
				if _, err := e.Await(t.Context(), holds(key["kid"].(string))); err != nil {
					t.Fatal(err)
				}
			}
			key := e.JWKS().byID["a"][0]
			time.Sleep(12 * time.Second) // a refresh finds that it is missing
			var until time.Time
			for _, status := range e.Status().Keys {
				if status.ID == "a" {
					until = status.ServesUntil
				}
			}
			if until.IsZero() {
				t.Fatalf("status does not tell of the key that serves on: %+v", e.Status().Keys)
			}
			if down {
				s.do(func() { s.status = 500 })
			}
			time.Sleep(time.Until(until) - time.Second)
			if !key.Trusted() {
				t.Error("the key is gone before its minute is over")
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if key.Trusted() || len(e.JWKS().byID["a"]) != 0 || len(e.JWKS().byID["b"]) != 1 {
				t.Errorf("issuer down %t: the key serves on after its minute", down)
			}
		}, edKey("old"))
	}
}

// A key that is withdrawn, and never came back before, is gone at once.
func TestWithdrawnKeyIsGoneAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a, b := edKey("a"), edKey("b")
		s.rotate(a, b)
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		e.Attach(Host{})
		if _, err := e.Await(t.Context(), holds("a")); err != nil {
			t.Fatal(err)
		}
		key := e.JWKS().byID["a"][0]
		s.rotate(b)
		time.Sleep(17 * time.Minute) // the next refresh
		if key.Trusted() {
			t.Error("a withdrawn key is trusted")
		}
	})
}
