package active

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// TestWalk: a license lives through all its states without a restart and without
// a request, and each is reported once, in the second in which it begins.
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
				t.Errorf("%s reported %s late", events[i].To, late)
			}
			if events[i].Words == "" || events[i].Validity == nil {
				t.Errorf("event %+v", events[i])
			}
		}
	})
}

// TestWalkAtUse: what a request gets is right to the second, reported or not.
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
// state has it reported, once, and long before any timer would.
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

func TestInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		here, l := started(t, Installed(), h)
		there, _ := started(t, Installed(), h)
		data := signed(t, "Acme")
		must(t, here.Install(t.Context(), data))
		wantCustomer(t, here, "Acme")
		wantState(t, there, license.StateMissing)
		time.Sleep(2 * DefaultRefresh)
		wantCustomer(t, there, "Acme")
		l.want(t, ">missing", "missing>valid")
		if !slices.Equal(h.get(installedKey), data) {
			t.Error("storage holds another text")
		}
		if h.isHeld() {
			t.Error("the lock is still held")
		}
		stores := h.count(&h.stores)
		must(t, here.Install(t.Context(), data))
		if h.count(&h.stores) != stores {
			t.Error("the same license was written again")
		}
		must(t, there.Install(t.Context(), signed(t, "Other")))
		time.Sleep(2 * DefaultRefresh)
		wantCustomer(t, here, "Other")
		l.want(t, "replaced")
		restarted, _ := started(t, Installed(), h)
		wantCustomer(t, restarted, "Other")
	})
}

func TestInstallRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := signed(t, "Acme")
		old := signed(t, "Old", lastingFor(unit))
		time.Sleep(10 * unit)
		h := newFaultStorage(t)
		k, _ := started(t, Installed(), h)
		for reason, data := range map[license.Reason][]byte{
			license.ReasonForm:        []byte("nonsense"),
			license.ReasonSignature:   broken(good),
			license.ReasonExpired:     old,
			license.ReasonNotYetValid: signed(t, "Next", from(time.Now().Add(unit))),
		} {
			wantRefusal(t, k.Install(t.Context(), data), reason)
		}
		if h.get(installedKey) != nil || h.count(&h.locks) > 0 {
			t.Error("a refused license reached storage")
		}
		for _, s := range []Source{Inline(string(good)), Inline(""), File("none.json")} {
			k, _ := started(t, s, h)
			wantErrors(t, k.Install(t.Context(), good), ErrConfigured)
		}
	})
}

// TestInstallBusy: whatever storage does, the answer comes within the limit and a
// little, what was in force stays, and it works again afterwards.
func TestInstallBusy(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(h *faultStorage)
		cause error
		soon  bool
	}{
		"down":             {spoil: func(h *faultStorage) { h.down = true }},
		"failing":          {spoil: func(h *faultStorage) { h.err = errDown }, cause: errDown},
		"waiting":          {spoil: func(h *faultStorage) { h.gate = make(chan struct{}) }},
		"deaf":             {spoil: func(h *faultStorage) { h.gate, h.deaf = make(chan struct{}), true }},
		"lock held":        {spoil: func(h *faultStorage) { h.held = true }},
		"lock fails":       {spoil: func(h *faultStorage) { h.lockErr = errors.New("already locked") }},
		"lock never":       {spoil: func(h *faultStorage) { h.lockNever = true }},
		"forgets":          {spoil: func(h *faultStorage) { h.stored = func(key string) { h.do(func() { delete(h.values, key) }) } }},
		"writes otherwise": {spoil: func(h *faultStorage) { h.stored = func(key string) { h.put(key, []byte("x")) } }, cause: storage.ErrReadBack},
		"no permission": {spoil: func(h *faultStorage) {
			h.lockErr = fmt.Errorf("creating lock file: %v", syscall.EACCES) //nolint:errorlint // as certmagic does
		}, soon: true},
		"not allowed": {spoil: func(h *faultStorage) { h.lockErr = fs.ErrPermission }, cause: fs.ErrPermission, soon: true},
		"full":        {spoil: func(h *faultStorage) { h.err = syscall.ENOSPC }, cause: syscall.ENOSPC, soon: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFaultStorage(t)
				k, _ := started(t, Installed(), h)
				must(t, k.Install(t.Context(), signed(t, "Acme")))
				synctest.Wait() // until the lock is given back
				h.do(func() { c.spoil(h) })
				began := time.Now()
				err := k.Install(t.Context(), signed(t, "Other"))
				wantErrors(t, err, ErrBusy)
				if c.cause != nil {
					wantErrors(t, err, c.cause)
				}
				took := time.Since(began)
				if took > DefaultWriteLimit+installGrace || c.soon && took > time.Second || !c.soon && took < DefaultWriteLimit {
					t.Errorf("took %s", took)
				}
				wantCustomer(t, k, "Acme")
				h.do(func() { h.down, h.err, h.held, h.lockErr, h.stored = false, nil, false, nil, nil })
				h.open()
				time.Sleep(time.Minute) // abandoned calls end, and give back what they get
				must(t, k.Install(t.Context(), signed(t, "Third")))
				wantCustomer(t, k, "Third")
				synctest.Wait()
				if h.isHeld() {
					t.Error("the lock is still held")
				}
			})
		})
	}
}

// TestInstallAfterTheKilled: a license that waits for the lock of a process that
// died is installed soon after the storage frees it, whatever its Lock does.
func TestInstallAfterTheKilled(t *testing.T) {
	for name, polls := range map[string]bool{"waits": false, "polls": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFaultStorage(t)
				k, _ := started(t, Installed(), h)
				h.do(func() { h.held, h.lockPolls = true, polls })
				time.AfterFunc(6*time.Second, func() { _ = h.Unlock(t.Context(), lockName) })
				must(t, k.Install(t.Context(), signed(t, "Acme")))
				wantCustomer(t, k, "Acme")
				synctest.Wait()
				if h.isHeld() {
					t.Error("the lock is still held")
				}
			})
		})
	}
}

// TestInstallAfterHiccups: what fails now and then does not fail an installation.
func TestInstallAfterHiccups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		k, _ := started(t, Installed(), h)
		h.do(func() { h.lockErr = errors.New("already locked") })
		time.AfterFunc(2*time.Second, func() { h.do(func() { h.lockErr = nil; h.down = true }) })
		time.AfterFunc(5*time.Second, func() { h.do(func() { h.down = false }) })
		forgetful := 2
		h.stored = func(key string) {
			h.do(func() {
				if forgetful--; forgetful >= 0 {
					delete(h.values, key)
				}
			})
		}
		must(t, k.Install(t.Context(), signed(t, "Acme")))
		wantCustomer(t, k, "Acme")
	})
}

// TestInstallAlongsideAnOldLook: a look that began before a license was installed
// does not bring back what was there.
func TestInstallAlongsideAnOldLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, l := started(t, Installed(), newFaultStorage(t))
		must(t, k.Install(t.Context(), signed(t, "Acme")))
		old := k.search.writes
		must(t, k.Install(t.Context(), signed(t, "Other")))
		l.want(t, ">missing", "missing>valid", "replaced")
		if k.look(signed(t, "Acme"), nil, old) || k.look(nil, fs.ErrNotExist, old) {
			t.Error("a look of the past is settled")
		}
		wantCustomer(t, k, "Other")
		l.want(t)
	})
}

func TestInstallManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		a, _ := started(t, Installed(), h)
		b, _ := started(t, Installed(), h)
		var all sync.WaitGroup
		for i := range 20 {
			k := []*Keeper{a, b}[i%2]
			all.Go(func() {
				if err := k.Install(t.Context(), signed(t, "Acme")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		time.Sleep(2 * DefaultRefresh)
		if string(a.Known()) != string(b.Known()) || string(a.Known()) != string(h.get(installedKey)) {
			t.Error("the nodes have different licenses")
		}
	})
}

func TestInstallGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		k, _ := started(t, Installed(), h)
		h.do(func() { h.held = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErrors(t, k.Install(ctx, signed(t, "Acme")), context.DeadlineExceeded)
		done := make(chan error, 1)
		go func() { done <- k.Install(t.Context(), signed(t, "Other")) }()
		synctest.Wait()
		must(t, k.Close())
		wantErrors(t, <-done, ErrClosed)
	})
}

// TestDetachDuringInstall: a reload lets a write end, or hands it to the storage
// that follows.
func TestDetachDuringInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newFaultStorage(t), newFaultStorage(t)
		k := newKeeper(t, Installed())
		detach := k.Attach(Host{Storage: first})
		synctest.Wait()
		first.do(func() { first.held = true })
		done := make(chan error, 1)
		go func() { done <- k.Install(t.Context(), signed(t, "Acme")) }()
		synctest.Wait()
		k.Attach(Host{Storage: second})
		began := time.Now()
		detach()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("detach took %s", took)
		}
		must(t, <-done)
		if second.get(installedKey) == nil || first.get(installedKey) != nil {
			t.Error("the license went to a storage of the past")
		}
	})
}
