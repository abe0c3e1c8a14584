package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// informedKeeper is a keeper whose verifier asks its facts.
func informedKeeper(t *testing.T, s *faultStorage, change ...func(*Config)) (*Keeper, *log) {
	t.Helper()
	keys, err := license.NewKeySet(license.TrustedKey{Key: vendorKey().Public()})
	must(t, err)
	cfg := Config{Facts: new(Facts)}
	cfg.Verifier, err = license.NewVerifier(cfg.Facts.Extend(license.Config{Keys: keys, Warn: warn, Grace: 5 * unit}))
	must(t, err)
	for _, c := range change {
		c(&cfg)
	}
	k, err := New(cfg, Options{})
	must(t, err)
	l := &log{}
	detach := k.Attach(Host{Storage: s, Observe: l.observe})
	t.Cleanup(func() { detach(); _ = k.Close() })
	synctest.Wait()
	return k, l
}

// TestInstanceIsMadeOnce by nodes that ask at once, is known again by the next one, and
// is written again where storage was emptied.
func TestInstanceIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaultStorage(t)
		first, _ := informedKeeper(t, s)
		second, _ := informedKeeper(t, s)
		if first.Instance() != nil || !first.Informed() {
			t.Fatal("an instance that nobody asked for")
		}
		var all sync.WaitGroup
		made := make([]*Instance, 20)
		for i := range made {
			all.Go(func() {
				var err error
				if made[i], err = []*Keeper{first, second}[i%2].MakeInstance(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, i := range made {
			if i.Fingerprint() != made[0].Fingerprint() {
				t.Fatal("there are two")
			}
		}
		third, _ := informedKeeper(t, s)
		if i := third.Instance(); i == nil || i.Fingerprint() != made[0].Fingerprint() || !bytes.Equal(i.Secret("x"), made[0].Secret("x")) || bytes.Equal(i.Secret("x"), i.Secret("y")) {
			t.Error("the next node is another instance")
		}
		s.mu.Lock()
		kept := s.values[instanceKey]
		clear(s.values)
		s.mu.Unlock()
		time.Sleep(2 * factsEvery)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !bytes.Equal(s.values[instanceKey], kept) {
			t.Error("it is gone from storage")
		}
		shown := fmt.Sprintf("%v %+v %#v", made[0], made[0], made[0])
		if want := "active.Instance(" + made[0].Fingerprint() + ")"; shown != want+" "+want+" "+want {
			t.Errorf("printed as %s", shown)
		}
	})
}

// TestInstanceDamaged: a record that cannot be read is never replaced, because a license
// may be bound to it.
func TestInstanceDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaultStorage(t)
		s.put(instanceKey, []byte(`{"ed25519_seed":"AAAA"}`))
		k, l := informedKeeper(t, s)
		if !k.Informed() {
			t.Error("requests wait for what cannot be had")
		}
		if _, err := k.MakeInstance(t.Context()); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("error %v", err)
		}
		if string(s.values[instanceKey]) != `{"ed25519_seed":"AAAA"}` {
			t.Error("it was replaced")
		}
		l.wantInAnyOrder(t, Unavailable, StateChanged)
	})
}

// TestRevokedWhileInForce: a list that comes takes effect at once, counts on while it is
// late or gone, and is known to the next node although its source is gone.
func TestRevokedWhileInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const id = "5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11"
		signer, err := license.NewSigner(license.SignerConfig{Key: vendorKey()})
		must(t, err)
		list := func(version int64, ids ...string) []byte {
			l, err := signer.SignRevocations(version, time.Now().Add(unit), ids)
			must(t, err)
			data, err := l.Encode()
			must(t, err)
			return data
		}
		s := newFaultStorage(t)
		s.put(installedKey, signed(t, "Acme", func(r *license.Request) { r.ID = id }))
		path := filepath.Join(t.TempDir(), "list.json")
		write(t, path, list(1))
		listed := func(c *Config) { c.Revocations = &RevocationSource{File: path} }
		k, l := informedKeeper(t, s, listed)
		wantState(t, k, license.StateValid)
		l.wantInAnyOrder(t, StateChanged, RevocationsChanged)
		write(t, path, list(2, id))
		time.Sleep(10 * time.Second)
		wantState(t, k, license.StateRevoked)
		l.wantInAnyOrder(t, StateChanged, RevocationsChanged)
		wantRefusal(t, k.Check("a.johnwick.org"), license.ReasonRevokedID)
		wantRefusal(t, k.Install(t.Context(), signed(t, "Acme again", func(r *license.Request) { r.ID = id })), license.ReasonRevokedID)
		write(t, path, list(1)) // an older one
		time.Sleep(2 * unit)
		wantState(t, k, license.StateRevoked)
		l.wantInAnyOrder(t, RevocationsRejected, RevocationsLate)
		if status, _ := k.Revocations(); !status.Late || status.Version != 2 || !strings.Contains(status.Error, "version 1") {
			t.Errorf("%+v", status)
		}
		must(t, os.Remove(path))
		next, _ := informedKeeper(t, s, listed)
		wantState(t, next, license.StateRevoked)
		write(t, path, list(3))
		time.Sleep(10 * time.Second)
		wantState(t, k, license.StateValid)
		wantState(t, next, license.StateValid)
	})
}

// TestRenewalTimes: the vendor is asked when a third of the time is left, and after
// failures ever more seldom, also after the end.
func TestRenewalTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaultStorage(t)
		s.put(installedKey, signed(t, "Acme", func(r *license.Request) { r.Version, r.TTL = 2, 5*time.Hour })) // of 6 hours, an hour back
		var asked []time.Duration
		began, answer := time.Now(), errors.New("the vendor is down")
		var text []byte
		k, l := informedKeeper(t, s, func(c *Config) {
			c.Renew = func(_ context.Context, held *license.License, instance *Instance) ([]byte, error) {
				if held.Payload.ID == "" || instance == nil {
					t.Error("asked for nothing")
				}
				asked = append(asked, time.Since(began))
				return text, answer
			}
		})
		l.want(t, ">valid")
		time.Sleep(2*time.Hour + 45*time.Minute)
		if len(asked) != 0 {
			t.Fatalf("asked after %s", asked)
		}
		time.Sleep(2 * time.Hour)
		if len(asked) < 5 || len(asked) > 9 || asked[0] > 3*time.Hour+15*time.Minute {
			t.Fatalf("asked after %s", asked)
		}
		for i, at := range asked[1:] {
			if pause := at - asked[i]; pause < 54*time.Second || pause > 67*time.Minute || i < 4 && pause > 9*time.Minute*time.Duration(i+1) {
				t.Errorf("pause %d is %s", i, pause)
			}
		}
		l.want(t, "renewal_failed") // once
		if status, _ := k.Renewal(); status.Failures != len(asked) || status.Error != "the vendor is down" || status.Next == 0 {
			t.Errorf("%+v", status)
		}
		wantState(t, k, license.StateValid)
		time.Sleep(30 * time.Minute)
		wantState(t, k, license.StateExpired)
		text, answer = signed(t, "Acme", func(r *license.Request) { r.Version, r.TTL = 2, 10*time.Hour }), nil
		time.Sleep(2 * time.Hour)
		wantState(t, k, license.StateValid)
		if status, _ := k.Renewal(); status.Failures != 0 || status.Error != "" {
			t.Errorf("%+v", status)
		}
	})
}

// TestWorseIsKeptAside: what would take something away stays in storage, for an operator.
func TestWorseIsKeptAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFaultStorage(t)
		s.put(installedKey, signed(t, "Acme", func(r *license.Request) { r.Version, r.TTL = 2, time.Minute }))
		worse := signed(t, "Acme", func(r *license.Request) { r.Version, r.AllowedHosts = 2, []string{"x.johnwick.org"} })
		k, l := informedKeeper(t, s, func(c *Config) {
			c.Renew = func(context.Context, *license.License, *Instance) ([]byte, error) { return worse, nil }
		})
		time.Sleep(50 * time.Second) // a third of the minute is left
		l.wantInAnyOrder(t, StateChanged, RenewalFailed)
		if status, _ := k.Renewal(); !status.KeptAside || !bytes.Equal(s.values[asideKey], worse) {
			t.Errorf("%+v", status)
		}
		must(t, k.Check("a.johnwick.org"))
	})
}

func FuzzInstance(f *testing.F) {
	f.Add([]byte(`{"ed25519_seed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Add([]byte(`{"ed25519_seed":"AAAA"}`))
	f.Add([]byte(`{"ed25519_seed":"","x":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := parseInstance(data)
		if err != nil {
			return
		}
		again, err := parseInstance(encodeInstance(i.key))
		if err != nil || again.Fingerprint() != i.Fingerprint() {
			t.Fatalf("read again: %v", err)
		}
	})
}
