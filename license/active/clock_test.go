package active

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

const day = 24 * time.Hour

// clockwork is a clock that a test sets, and a keeper that goes by it.
type clockwork struct {
	offset atomic.Int64
	k      *Keeper
	log    log
}

func (c *clockwork) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// turn sets the clock that far off the test's, and lets the keeper find out.
func (c *clockwork) turn(offset time.Duration) {
	c.offset.Store(int64(offset))
	time.Sleep(notifyPause)
	synctest.Wait()
}

// newClockwork starts a keeper with a clock off by that much.
func newClockwork(t *testing.T, s storage.Storage, offset time.Duration) *clockwork {
	t.Helper()
	c := &clockwork{}
	c.offset.Store(int64(offset))
	data := signed(t, "Acme", lastingFor(10000*day))
	k, err := New(Config{Source: Inline(string(data)), Verifier: verifier(t, c.now)}, Options{Now: c.now})
	must(t, err)
	t.Cleanup(func() { _ = k.Close() })
	c.k = k
	k.Attach(Host{Storage: s, Observe: c.log.observe})
	synctest.Wait()
	return c
}

func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClockwork(t, nil, 100*day)
		c.turn(99 * day)
		if c.k.ClockSuspect() {
			t.Error("a clock set back by a day is suspect")
		}
		c.turn(98 * day)
		c.turn(97 * day)
		if !c.k.ClockSuspect() {
			t.Error("a clock set back by three days is not suspect")
		}
		wantState(t, c.k, license.StateValid)
		ev := c.log.want(t, ">valid", "clock_suspect")[1]
		if !strings.Contains(ev.Words, ev.Time.UTC().Format("2006-01-02")) || !strings.Contains(ev.Words, "but it was 2000-04-10") {
			t.Errorf("words %q", ev.Words)
		}
		c.turn(99*day + time.Hour)
		if c.k.ClockSuspect() {
			t.Error("suspect although the clock is right again")
		}
		c.log.want(t, "clock_fine")
	})
}

// TestClockKept: the highest time seen outlives the process, and holds for all
// nodes.
func TestClockKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		first := newClockwork(t, h, 100*day)
		must(t, first.k.Close())
		kept := string(h.get(clockKey))
		if want := fmt.Sprintf(`{"highest":%d}`, first.now().Unix()); kept != want {
			t.Errorf("kept %s, want %s", kept, want)
		}
		second := newClockwork(t, h, 98*day)
		if !second.k.ClockSuspect() {
			t.Error("a clock set back while nothing ran is not suspect")
		}
		second.log.want(t, ">valid", "clock_suspect")
		time.Sleep(3 * clockEvery)
		if string(h.get(clockKey)) != kept {
			t.Error("a suspect clock was kept")
		}
		second.turn(101 * day)
		second.log.want(t, "clock_fine")
		time.Sleep(2 * clockEvery)
		third := newClockwork(t, h, 98*day)
		third.log.want(t, ">valid", "clock_suspect")
		must(t, second.k.Close())
		// An operator has the last word.
		h.do(func() { delete(h.values, clockKey) })
		time.Sleep(2 * clockEvery)
		third.log.want(t, "clock_fine")
	})
}

// TestClockRarelyWritten: once an hour, and not at each reload.
func TestClockRarelyWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		c := newClockwork(t, h, 0)
		for range 20 {
			c.k.Attach(Host{Storage: h})
			synctest.Wait()
		}
		if n := h.count(&h.stores); n != 1 {
			t.Errorf("%d writes at the start, want 1", n)
		}
		time.Sleep(day)
		synctest.Wait()
		if n := h.count(&h.stores); n < 22 || n > 28 {
			t.Errorf("%d writes in a day, want about 24", n)
		}
	})
}

// TestClockMarkNotLost: a storage that is out of reach, and says "not found", does
// not make a clock set back look right.
func TestClockMarkNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		must(t, newClockwork(t, h, 100*day).k.Close())
		kept := string(h.get(clockKey))
		h.down = true
		c := newClockwork(t, h, 0)
		c.log.wantInAnyOrder(t, StateChanged, Unavailable)
		h.do(func() { h.down, h.listErrs = false, []error{errDown} })
		time.Sleep(2 * clockRetry)
		c.log.wantInAnyOrder(t, Recovered, ClockSuspect)
		if string(h.get(clockKey)) != kept {
			t.Error("the highest time was overwritten")
		}
	})
}

func TestClockRecordDamaged(t *testing.T) {
	for _, data := range []string{"x", `{"highest":-1}`, `{"highest":1e30}`, `{"highest":253402300800}`, `{"Highest":1}`, strings.Repeat(" ", 2000)} {
		synctest.Test(t, func(t *testing.T) {
			h := newFaultStorage(t)
			h.put(clockKey, []byte(data))
			c := newClockwork(t, h, 0)
			var damaged []Event
			for _, ev := range c.log.take() {
				if ev.Kind == Damaged {
					damaged = append(damaged, ev)
				}
			}
			if len(damaged) != 1 || !strings.Contains(damaged[0].Err.Error(), clockKey) {
				t.Errorf("%.20q: %v", data, damaged)
			}
			if _, err := parseClock(h.get(clockKey)); err != nil {
				t.Errorf("%.20q was not written anew", data)
			}
			if c.k.ClockSuspect() {
				t.Errorf("%.20q makes the clock suspect", data)
			}
		})
	}
}
