package account_test

import (
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/hostile"
)

// TestRoundTripsOfAChange counts the round trips until a change is acknowledged,
// where each takes 100 ms of a time of the test's own.
func TestRoundTripsOfAChange(t *testing.T) {
	const trip = 100 * time.Millisecond
	bubble(t, hostile.Faults{Trip: trip}, func(t *testing.T, e *hostile.Engine) {
		n := &node{Registry: account.New(account.Options{}), heard: make(chan struct{}, 1)}
		n.Attach(account.Host{Storage: e.Node(), Refresh: time.Hour})
		n.loaded(t)
		create(t, n, "first") // which founds the registry
		time.Sleep(time.Minute)
		begun := time.Now()
		create(t, n, "second")
		if trips := time.Since(begun) / trip; trips > 7 {
			t.Errorf("%d round trips, want 7 at most", trips)
		}
		_ = n.Close()
	})
}
