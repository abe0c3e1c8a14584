package active

import (
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// settle is long enough for a look, its repetition and a retry.
const settle = 5 * time.Second

// TestNotFoundWhileDown: "not found" while it is down, at three moments.
func TestNotFoundWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		k, l := started(t, Installed(), h)
		must(t, k.Install(t.Context(), signed(t, "Acme")))
		l.want(t, ">missing", "missing>valid")
		h.do(func() { h.down = true })
		time.Sleep(time.Minute)
		wantCustomer(t, k, "Acme")
		l.want(t, "unavailable")
		h.do(func() { h.down = false })
		time.Sleep(time.Minute)
		l.want(t, "recovered")

		h.do(func() { h.down = true }) // at a start
		k, l = started(t, Installed(), h)
		wantState(t, k, license.StateMissing)
		l.want(t, "unavailable", ">missing")
		h.do(func() { h.down = false })
		time.Sleep(settle)
		wantCustomer(t, k, "Acme")

		// Down for Load only, and the listing knows better.
		value := h.get(installedKey)
		k, l = started(t, Installed(), h)
		l.want(t, ">valid")
		h.do(func() {
			delete(h.values, installedKey)
			h.listing = func(keys []string) []string { return append(keys, installedKey) }
		})
		time.Sleep(time.Minute)
		wantCustomer(t, k, "Acme")
		if ev := l.want(t, "unavailable")[0]; !errors.Is(ev.Err, storage.ErrWavers) {
			t.Errorf("reason %v", ev.Err)
		}
		h.put(installedKey, value)
	})
}

// TestDeleted: a license that is really gone stays where it is known. Nothing is
// written back, and a restart has none.
func TestDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		k, l := started(t, Installed(), h)
		data := signed(t, "Acme")
		must(t, k.Install(t.Context(), data))
		h.do(func() { delete(h.values, installedKey) })
		time.Sleep(time.Minute)
		wantCustomer(t, k, "Acme")
		l.want(t, ">missing", "missing>valid", "vanished")
		if !errors.Is(k.Fault(), fs.ErrNotExist) {
			t.Errorf("fault %v, want that storage has none", k.Fault())
		}
		if h.get(installedKey) != nil {
			t.Error("a deleted license was written back")
		}
		restarted, _ := started(t, Installed(), h)
		wantState(t, restarted, license.StateMissing)
		lists := h.count(&h.lists)
		time.Sleep(time.Minute)
		if n := h.count(&h.lists) - lists; n > 2 {
			t.Errorf("listed %d times in a minute for what is no news", n)
		}
		h.put(installedKey, data)
		time.Sleep(settle)
		l.want(t, "mended")
	})
}

// TestListings: whatever storage shows beside the license.
func TestListings(t *testing.T) {
	for name, spoil := range map[string]func(h *faultStorage){
		"temporary names": func(h *faultStorage) {
			h.listing = func(keys []string) []string { return append(keys, folder+"/8674665223", installedKey+".tmp") }
		},
		"no folder, an error":  func(h *faultStorage) { h.noFolder = fs.ErrNotExist },
		"no folder, no error":  func(h *faultStorage) { h.noFolder = nil },
		"temporary file ended": func(h *faultStorage) { h.listErrs = []error{tempGone} },
		"siblings and folders": func(h *faultStorage) {
			h.listing = func(keys []string) []string {
				return append(keys, folder, folder+"/", folder+"_old/installed.json", "other/"+installedKey, recordFolder+"/x.json")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFaultStorage(t)
				spoil(h)
				k, l := started(t, Installed(), h)
				must(t, k.Await(t.Context()))
				l.want(t, ">missing")
				must(t, k.Install(t.Context(), signed(t, "Acme")))
				time.Sleep(settle)
				l.want(t, "missing>valid")
			})
		})
	}
}

// TestRawErrors: an error that says nothing of what it means is an outage and not
// an answer.
func TestRawErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		h.put(installedKey, signed(t, "Acme"))
		k, l := started(t, Installed(), h)
		h.do(func() { h.err = errors.New("NoSuchKey: 404") })
		time.Sleep(time.Minute)
		wantCustomer(t, k, "Acme")
		l.want(t, ">valid", "unavailable")
		if k.Fault() == nil {
			t.Error("no fault, though storage is out of reach")
		}
		h.do(func() { h.err = nil })
		time.Sleep(time.Minute)
		if k.Fault() != nil {
			t.Errorf("fault %v, though storage is back", k.Fault())
		}
	})
}

// TestLockThatNeverComes: the lock that comes too late is given back. The other kinds of locks are in TestInstallBusy.
func TestLockThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		k, _ := started(t, Installed(), h)
		h.do(func() { h.lockNever = true })
		wantErrors(t, k.Install(t.Context(), signed(t, "Acme")), ErrBusy)
		h.open()
		synctest.Wait()
		if h.isHeld() {
			t.Error("a lock that nobody waits for is held")
		}
		wantState(t, k, license.StateMissing)
	})
}

// TestLockIsGivenBackLater: a lock that storage could not free is freed later, without a
// delay for who installs. Some storages would keep it for ever.
func TestLockIsGivenBackLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		k, _ := started(t, Installed(), h)
		h.do(func() { h.unlockErrs = []error{errDown, errDown} })
		began := time.Now()
		must(t, k.Install(t.Context(), signed(t, "Acme")))
		if took := time.Since(began); took > 0 || !h.isHeld() {
			t.Errorf("took %s, held %t", took, h.isHeld())
		}
		must(t, k.Install(t.Context(), signed(t, "Other"))) // and waits until it is
		if took := time.Since(began); took > time.Second {
			t.Errorf("the next one took %s", took)
		}
		synctest.Wait()
		if h.isHeld() {
			t.Error("the lock is held still")
		}
	})
}

// TestLockHeldByTwo: both nodes end with what storage holds.
func TestLockHeldByTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		h.lockShared = true
		k, _ := started(t, Installed(), h)
		other, meddled := signed(t, "Other"), 0
		h.stored = func(string) {
			if meddled++; meddled == 1 {
				h.put(installedKey, other) // before it is read back
			}
		}
		must(t, k.Install(t.Context(), signed(t, "Acme")))
		wantCustomer(t, k, "Acme")
		h.put(installedKey, other) // after
		time.Sleep(settle)
		wantCustomer(t, k, "Other")
	})
}

// TestDamagedRecord: what is no license is reported, and the last good one stays.
func TestDamagedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		data := signed(t, "Acme")
		h.put(installedKey, data)
		k, l := started(t, Installed(), h)
		for _, bad := range [][]byte{{}, data[:len(data)/2], broken(data), make([]byte, 1<<20)} {
			h.put(installedKey, bad)
			time.Sleep(settle)
			wantCustomer(t, k, "Acme")
		}
		l.want(t, ">valid", "rejected", "rejected", "rejected") // the first two are alike
		h.put(installedKey, data)
		time.Sleep(settle)
		l.want(t, "mended")
		h.put(installedKey, broken(data))
		restarted, _ := started(t, Installed(), h)
		wantState(t, restarted, license.StateInvalid)
	})
}

// TestStuckCallsAreBounded: a storage that never answers does not collect
// goroutines.
func TestStuckCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		k, l := started(t, Installed(), h)
		must(t, k.Install(t.Context(), signed(t, "Acme")))
		h.do(func() { h.gate, h.deaf = make(chan struct{}), true })
		for range 10 {
			_ = k.Install(t.Context(), signed(t, "Other"))
		}
		stuck := func() (n int) {
			h.do(func() { n = h.waiting })
			return n
		}
		if n := stuck(); n != storage.MaxCalls {
			t.Errorf("%d calls are stuck", n)
		}
		l.want(t, ">missing", "missing>valid", "unavailable")
		healthy := newFaultStorage(t)
		detach := k.Attach(Host{Storage: healthy})
		must(t, k.Install(t.Context(), signed(t, "Third"))) // another storage is not held up
		wantCustomer(t, k, "Third")
		detach()
		h.open()
		time.Sleep(2 * time.Minute)
		if n := stuck(); n != 0 {
			t.Errorf("%d calls are stuck still", n)
		}
	})
}
