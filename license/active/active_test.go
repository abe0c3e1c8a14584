package active

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// TestWalk: a license lives through all its states without a restart and without
// a request, and each is told once, in the second in which it begins.
func TestWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, l := started(t, Inline(string(signed(t, "Acme", from(began.Add(7*unit))))), nil)
		l.want(t, ">not_yet_valid")
		time.Sleep(7*unit - time.Second)
		l.want(t)
		time.Sleep(200 * unit)
		events := l.want(t, "not_yet_valid>valid", "valid>expiring", "expiring>grace", "grace>expired")
		for i, after := range []time.Duration{7 * unit, 90 * unit, 100 * unit, 105 * unit} {
			if late := events[i].Time.Sub(began.Add(after)); late < 0 || late > 10*time.Millisecond {
				t.Errorf("%s told %s late", events[i].To, late)
			}
			if events[i].Words == "" || events[i].Validity == nil {
				t.Errorf("event %+v", events[i])
			}
		}
	})
}

// TestWalkAtUse: what a request gets is right to the second, told or not.
func TestWalkAtUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t, Inline(string(signed(t, "Acme")))) // nothing runs
		for _, step := range []struct {
			state license.State
			until time.Duration
		}{
			{license.StateValid, 90 * unit}, {license.StateExpiring, 10 * unit}, {license.StateGrace, 5 * unit}, {license.StateExpired, 300 * unit},
		} {
			wantState(t, k, step.state)
			time.Sleep(step.until - time.Second)
			wantState(t, k, step.state)
			time.Sleep(time.Second)
		}
	})
}

// TestRequestsNotice: when the clock jumps, the first request that meets the new
// state has it told, once, and long before any timer would.
func TestRequestsNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		k, err := New(Config{Source: Inline(string(signed(t, "Acme"))), Verifier: verifier(t, now)}, Options{Now: now})
		must(t, err)
		l := &log{}
		defer k.Close()
		k.Attach(Host{Observe: l.observe})
		synctest.Wait()
		l.want(t, ">valid")
		began := time.Now()
		for _, step := range []struct {
			at   time.Duration
			want string
		}{
			{95 * unit, "valid>expiring"}, {104 * unit, "expiring>grace"}, {200 * unit, "grace>expired"}, {100 * unit, "expired>grace"},
		} {
			ahead.Store(int64(step.at))
			synctest.Wait()
			l.want(t) // nobody asked
			for range 100 {
				go k.Validity()
			}
			if got := l.want(t, step.want); step.at == 100*unit && len(got) == 1 && got[0].To != license.StateGrace {
				t.Error(got)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("telling took %s", took)
		}
		// Without a request the keeper finds out by itself.
		ahead.Store(int64(200 * unit))
		time.Sleep(notifyPause)
		l.want(t, "grace>expired")
	})
}

func TestValidityCostsNoMemory(t *testing.T) {
	k := newKeeper(t, Inline(string(signed(t, "Acme"))))
	k.Attach(Host{})
	if n := testing.AllocsPerRun(1000, func() {
		if k.Validity().Check("api.johnwick.org") != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
