package active

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

func TestReadyRightAfterNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, none := signed(t, "Acme"), filepath.Join(t.TempDir(), "none.json")
		old := signed(t, "Old", lastingFor(10*unit))
		time.Sleep(30 * unit)
		for name, c := range map[string]struct {
			source Source
			want   license.State
			words  string
		}{
			"file":          {File(licenseFile(t, good)), license.StateValid, "valid until"},
			"no file":       {File(none), license.StateMissing, "the configured file does not exist"},
			"broken file":   {File(licenseFile(t, broken(good))), license.StateInvalid, "signature"},
			"empty file":    {File(licenseFile(t, []byte{})), license.StateInvalid, ""},
			"large file":    {File(licenseFile(t, make([]byte, license.MaxSize+2))), license.StateInvalid, "at most 65536"},
			"folder":        {File(t.TempDir()), license.StateInvalid, "not a regular file"},
			"no folder":     {File(filepath.Join(none, "below")), license.StateMissing, ""},
			"not a folder":  {File(filepath.Join(licenseFile(t, good), "below")), license.StateInvalid, "not a directory"},
			"expired file":  {File(licenseFile(t, old)), license.StateExpired, "ended on"},
			"inline":        {Inline(string(good)), license.StateValid, ""},
			"empty inline":  {Inline(" \n"), license.StateMissing, "the configured text is empty"},
			"broken inline": {Inline("{}"), license.StateInvalid, ""},
			"storage":       {Installed(), license.StateMissing, "storage has not been read yet"},
		} {
			k := newKeeper(t, c.source)
			state, words := k.Validity().Explain()
			if state != c.want || !strings.Contains(words, c.words) {
				t.Errorf("%s: %s, %s", name, state, words)
			}
			if strings.Contains(words, "/") {
				t.Errorf("%s: the words, which clients may read, hold a path: %s", name, words)
			}
			if want := name != "storage"; k.Looked() != want {
				t.Errorf("%s: looked %v", name, !want)
			}
		}
	})
}

func TestNewWithoutVerifier(t *testing.T) {
	if _, err := New(Config{}, Options{}); err == nil || !strings.Contains(err.Error(), "verifier") {
		t.Errorf("error %v", err)
	}
}

func TestSource(t *testing.T) {
	secret := "text-of-a-license"
	for _, c := range []struct {
		s          Source
		name       string
		configured bool
	}{
		{Source{}, "storage gatehouse/license/installed.json", false},
		{File("/etc/l.json"), "file /etc/l.json", true},
		{Inline(secret), "configuration", true},
	} {
		if newKeeper(t, c.s).Source() != c.s || c.s.String() != c.name || c.s.Configured() != c.configured {
			t.Errorf("%s, configured %v; want %s", c.s, c.s.Configured(), c.name)
		}
	}
	again := File("a")
	if File("a") == File("b") || File("a") == Inline("a") || Installed() != (Source{}) || again != File("a") {
		t.Error("sources are not compared by what they are")
	}
}

// TestFirstReported: the first state is reported when the first configuration starts,
// whatever it is, and with what is wrong.
func TestFirstReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := licenseFile(t, broken(signed(t, "Acme")))
		_, l := started(t, File(path), nil)
		ev := l.want(t, ">invalid")[0]
		wantRefusal(t, ev.Err, license.ReasonSignature)
		if ev.Source != "file "+path || ev.Words == "" || ev.Validity == nil || !ev.Time.Equal(time.Now()) {
			t.Errorf("event %+v", ev)
		}
		_, l = started(t, File(path+"x"), nil)
		if ev = l.want(t, ">missing")[0]; !strings.Contains(ev.Err.Error(), path+"x") {
			t.Errorf("the error for logs does not name the file: %v", ev.Err)
		}
		_, l = started(t, Inline(string(signed(t, "Acme"))), nil)
		if ev = l.want(t, ">valid")[0]; ev.Err != nil {
			t.Errorf("error %v of a valid license", ev.Err)
		}
	})
}

// TestKnownGoesOn: a keeper that follows another one does not begin with nothing.
func TestKnownGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := signed(t, "Acme")
		path := licenseFile(t, good)
		known := newKeeper(t, File(path)).Known()
		if string(known) != string(good) {
			t.Fatalf("known %q", known)
		}
		for name, data := range map[string][]byte{"broken": broken(good), "gone": nil} {
			k := newKeeper(t, File(licenseFile(t, data)), known...)
			wantState(t, k, license.StateValid)
			l := &log{}
			defer k.Attach(Host{Observe: l.observe})()
			synctest.Wait()
			want := map[string]string{"broken": "rejected", "gone": "vanished"}[name]
			l.want(t, want, ">valid")
		}
		k := newKeeper(t, File(licenseFile(t, signed(t, "Other"))), known...)
		wantCustomer(t, k, "Other")
		k = newKeeper(t, Installed(), known...)
		wantState(t, k, license.StateValid)
		if !k.Looked() {
			t.Error("waits for storage although a license is known")
		}
		k = newKeeper(t, Installed(), broken(good)...)
		wantState(t, k, license.StateMissing)
		if k.Known() != nil || k.Looked() {
			t.Error("a license that is not genuine is known")
		}
	})
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		h.put(installedKey, signed(t, "Acme"))
		h.gate = make(chan struct{})
		k := newKeeper(t, Installed())
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErrors(t, k.Await(short), context.DeadlineExceeded)
		k.Attach(Host{Storage: h})
		began := time.Now()
		time.AfterFunc(2*time.Second, h.open)
		must(t, k.Await(t.Context()))
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("waited %s", took)
		}
		wantCustomer(t, k, "Acme")
		must(t, k.Await(short)) // looked: no waiting, whatever the context
		must(t, newKeeper(t, File("none")).Await(t.Context()))

		k = newKeeper(t, Installed())
		time.AfterFunc(time.Second, func() { _ = k.Close() })
		wantErrors(t, k.Await(t.Context()), ErrClosed)
	})
}

// TestAwaitEndsWithStorageDown: the first look ends in vain, and no request waits
// after it.
func TestAwaitEndsWithStorageDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		h.gate, h.deaf = make(chan struct{}), true
		k, l := newKeeper(t, Installed()), &log{}
		k.Attach(Host{Storage: h, Observe: l.observe})
		began := time.Now()
		must(t, k.Await(t.Context()))
		if took := time.Since(began); took != storage.DefaultLimit+storage.DefaultLimit/5 {
			t.Errorf("waited %s", took)
		}
		wantState(t, k, license.StateMissing)
		l.want(t, "unavailable", ">missing")
		h.put(installedKey, signed(t, "Acme"))
		h.open()
		time.Sleep(2 * time.Second)
		wantState(t, k, license.StateValid)
		l.wantInAnyOrder(t, Recovered, StateChanged)
	})
}

func TestNoStorageAttached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, l := started(t, Installed(), nil)
		must(t, k.Await(t.Context()))
		l.want(t, "unavailable", ">missing")
		wantErrors(t, k.Install(t.Context(), signed(t, "Acme")), ErrBusy, storage.ErrNoStorage)
	})
}

// TestNewestHostWins: over reloads, events and storage are those of the
// configuration that started last, and of the one before if that one ends.
func TestNewestHostWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newFaultStorage(t), newFaultStorage(t)
		one, two := &log{}, &log{}
		k := newKeeper(t, Installed())
		detachOne := k.Attach(Host{Storage: first, Observe: one.observe})
		synctest.Wait()
		one.want(t, ">missing")
		detachTwo := k.Attach(Host{Storage: second, Observe: two.observe})
		synctest.Wait()
		first.put(installedKey, signed(t, "Acme"))
		time.Sleep(3 * time.Second)
		wantState(t, k, license.StateMissing)
		second.put(installedKey, signed(t, "Other"))
		time.Sleep(3 * time.Second)
		wantCustomer(t, k, "Other")
		two.want(t, "missing>valid")
		detachTwo()
		detachTwo()
		time.Sleep(3 * time.Second)
		wantCustomer(t, k, "Acme")
		one.want(t, "replaced")
		two.want(t)
		detachOne()
		first.put(installedKey, signed(t, "Third"))
		time.Sleep(time.Hour)
		wantCustomer(t, k, "Acme")
	})
}

// TestEventsWaitForAnObserver: what happens between two configurations is reported to
// the next one, within bounds.
func TestEventsWaitForAnObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := licenseFile(t, signed(t, "Acme"))
		k := newKeeper(t, File(path))
		k.Attach(Host{})()
		synctest.Wait()
		for range storage.MaxEvents + 50 {
			write(t, path, signed(t, "Other"))
			time.Sleep(3 * time.Second)
		}
		l := &log{}
		k.Attach(Host{Observe: l.observe})
		synctest.Wait()
		if n := len(l.take()); n != storage.MaxEvents {
			t.Errorf("%d events waited, want %d", n, storage.MaxEvents)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		k, l := started(t, Installed(), h)
		must(t, k.Install(t.Context(), signed(t, "Acme")))
		l.want(t, ">missing", "missing>valid")
		must(t, k.Close())
		must(t, k.Close())
		loads := h.count(&h.loads)
		time.Sleep(95 * unit)
		if h.count(&h.loads) != loads {
			t.Error("storage is read after Close")
		}
		wantErrors(t, k.Install(t.Context(), signed(t, "Other")), ErrClosed)
		k.Attach(Host{Storage: h, Observe: l.observe})()
		wantState(t, k, license.StateExpiring) // the state goes on with the clock
		l.want(t)
	})
}

// TestCloseWithDeafStorage: a storage that never answers cannot hold up the end.
func TestCloseWithDeafStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		h.gate, h.deaf = make(chan struct{}), true
		defer h.open()
		k := newKeeper(t, Installed())
		k.Attach(Host{Storage: h})
		synctest.Wait()
		began := time.Now()
		must(t, k.Close())
		if took := time.Since(began); took > installGrace {
			t.Errorf("Close took %s", took)
		}
	})
}
