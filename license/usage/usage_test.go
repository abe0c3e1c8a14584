package usage

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gowebpki/jcs"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// store is a storage in memory, which may be away and may lose a write.
type store struct {
	mu     sync.Mutex
	values map[string][]byte
	away   bool
	lose   int // so many of the next writes
}

func newStore() *store { return &store{values: map[string][]byte{}} }

var errAway = errors.New("away")

func (s *store) Lock(context.Context, string) error   { return errors.New("nothing here needs a lock") }
func (s *store) Unlock(context.Context, string) error { return nil }

func (s *store) Store(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.away:
		return errAway
	case s.lose > 0:
		s.lose--
		return nil
	}
	s.values[key] = bytes.Clone(value)
	return nil
}

func (s *store) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, found := s.values[key]
	switch {
	case s.away:
		return nil, errAway
	case !found:
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(value), nil
}

func (s *store) Delete(context.Context, string) error { return errors.New("nothing is deleted") }

func (s *store) List(context.Context, string, bool) ([]string, error) {
	return nil, errors.New("nothing is listed")
}

func (s *store) set(change func(s *store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// node is a counter that uses the storage.
func node(t *testing.T, s *store) *Counter { return nodeThatLooks(t, s, time.Second) }

func nodeThatLooks(t *testing.T, s *store, every time.Duration) *Counter {
	t.Helper()
	c := New(nil)
	detach := c.Attach(Host{
		Storage: s, Refresh: every, Counts: func() bool { return true },
		Secret: func(context.Context) ([]byte, error) { return []byte("a secret of this deployment"), nil },
	})
	t.Cleanup(func() { detach(); _ = c.Close() })
	synctest.Wait()
	return c
}

func see(t *testing.T, c *Counter, subject string, most int64, deny bool, want Outcome) {
	t.Helper()
	if got := c.See("acme", subject, most, deny); got != want {
		t.Errorf("%s: outcome %d, want %d", subject, got, want)
	}
}

func wantCount(t *testing.T, c *Counter, want int) {
	t.Helper()
	if got := c.Count(); got != want {
		t.Errorf("%d people, want %d", got, want)
	}
}

// TestNodes: people are counted once over nodes, and whoever is in at one is never
// refused at another.
func TestNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		first, second := node(t, s), node(t, s)
		see(t, first, "ada", 2, true, Counted)
		see(t, second, "bob", 2, true, Counted)
		time.Sleep(30 * time.Second)
		for _, c := range []*Counter{first, second} {
			wantCount(t, c, 2)
			see(t, c, "ada", 2, true, Counted)
			see(t, c, "bob", 2, true, Counted)
			see(t, c, "eve", 2, true, Refused)
			see(t, c, "eve", 2, true, Refused) // again
			wantCount(t, c, 2)
		}
		see(t, first, "eve", 2, false, Over)
		see(t, first, "eve", 2, true, Counted) // they were in
		if got := first.See("other", "ada", 9, true); got != Counted {
			t.Errorf("the same subject of another issuer: %d", got)
		}
		wantCount(t, first, 4)
		third := node(t, s)
		time.Sleep(15 * time.Second)
		wantCount(t, third, 4)
		wantCount(t, second, 4)
	})
}

// TestDaysPass: who was not seen for 30 days does not count, and who was seen since does.
func TestDaysPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		c, other := nodeThatLooks(t, s, 30*time.Minute), nodeThatLooks(t, s, 30*time.Minute)
		see(t, c, "ada", 9, false, Counted)
		see(t, c, "bob", 9, false, Counted)
		time.Sleep(20 * day)
		see(t, other, "bob", 9, false, Counted)
		time.Sleep(10 * day)
		wantCount(t, c, 2)
		time.Sleep(day + 12*time.Hour)
		wantCount(t, c, 1)
		wantCount(t, other, 1)
		see(t, c, "bob", 1, true, Counted)
		see(t, c, "ada", 1, true, Refused) // gone for 30 days: new
	})
}

// TestStorageFails: what is written is lost, away, emptied or damaged, and nobody is
// forgotten by the nodes that run.
func TestStorageFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		c := node(t, s)
		s.set(func(s *store) { s.lose = 3 })
		for i := range 40 {
			see(t, c, fmt.Sprint(i), 100, true, Counted)
		}
		time.Sleep(time.Minute)
		wantCount(t, node(t, s), 40)
		s.set(func(s *store) { clear(s.values) })
		time.Sleep(time.Minute)
		wantCount(t, node(t, s), 40)
		s.set(func(s *store) {
			for key := range s.values {
				s.values[key] = []byte("damaged")
			}
		})
		time.Sleep(time.Minute)
		wantCount(t, node(t, s), 40)
		s.set(func(s *store) { s.away = true })
		see(t, c, "late", 100, true, Counted)
		time.Sleep(time.Minute)
		wantCount(t, c, 41)
		s.set(func(s *store) { s.away = false })
		time.Sleep(time.Minute)
		wantCount(t, node(t, s), 41)
	})
}

// TestUnknown: before the secret is known nobody is counted, and nobody refused.
func TestUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.away = true
		c := New(nil)
		defer c.Close() //nolint:errcheck // it has none
		calls := 0
		detach := c.Attach(Host{
			Storage: s, Refresh: time.Second, Counts: func() bool { return true },
			Secret: func(context.Context) ([]byte, error) {
				if _, err := s.Load(t.Context(), "key"); errors.Is(err, errAway) {
					return nil, err
				}
				return []byte("secret"), nil
			},
			Unavailable: func(error) { calls++ },
		})
		defer detach()
		if ready, _ := c.Ready(); ready {
			t.Error("ready before a look")
		}
		synctest.Wait()
		see(t, c, "ada", 0, true, Unknown)
		if ready, first := c.Ready(); !ready {
			t.Error("not ready after a look in vain")
		} else {
			<-first
		}
		time.Sleep(10 * time.Second)
		s.set(func(s *store) { s.away = false })
		time.Sleep(3 * time.Second)
		see(t, c, "ada", 0, true, Refused)
		synctest.Wait()
		if calls != 2 {
			t.Errorf("%d calls about the outage and its end", calls)
		}
	})
}

// TestTheLastPlace is given once by a node, whatever asks at once.
func TestTheLastPlace(t *testing.T) {
	c := New(nil)
	secret := []byte("secret")
	c.secret.Store(&secret)
	var all sync.WaitGroup
	var mu sync.Mutex
	in := map[string]bool{}
	for i := range 200 {
		all.Go(func() {
			subject := fmt.Sprint(i % 100)
			if c.See("acme", subject, 50, true) == Counted {
				mu.Lock()
				defer mu.Unlock()
				in[subject] = true
			}
		})
	}
	all.Wait()
	if len(in) != 50 || c.Count() != 50 {
		t.Errorf("%d are in, %d count", len(in), c.Count())
	}
}

// TestRecordsHoldNoNames: what is stored tells nothing of people without the secret.
func TestRecordsHoldNoNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		c := node(t, s)
		see(t, c, "ada@example.com", 9, false, Counted)
		time.Sleep(time.Minute)
		if len(s.values) != 1 {
			t.Fatalf("%d records", len(s.values))
		}
		for key, value := range s.values {
			if strings.Contains(string(value), "ada") || strings.Contains(string(value), "acme") || len(value) != len(recordHead)+entrySize {
				t.Errorf("%s holds %q", key, value)
			}
		}
		if hash([]byte("a"), "x", "y") == hash([]byte("b"), "x", "y") || hash(nil, "x", "y") == hash(nil, "xy", "") {
			t.Error("two have the same hash")
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(recordHead), 0)
	f.Add(encode(map[person]uint32{{0x30}: 20000, {0x3f, 1}: 20001}), 3)
	f.Add([]byte("gatehouse-people/1\nx"), 1)
	f.Fuzz(func(t *testing.T, data []byte, number int) {
		seen, err := decode(data, number)
		if err != nil {
			return
		}
		again, err := decode(encode(seen), number)
		if err != nil || !maps.Equal(seen, again) {
			t.Fatalf("read again: %v", err)
		}
	})
}

// testInstance signs as an instance does.
type testInstance struct{ key ed25519.PrivateKey }

func newTestInstance() testInstance {
	return testInstance{ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
}

func (i testInstance) Fingerprint() string {
	id, _ := license.KeyID(i.key.Public())
	return id
}

func (i testInstance) Public() []byte {
	der, _ := x509.MarshalPKIXPublicKey(i.key.Public())
	return der
}

func (i testInstance) Sign(prefix string, document []byte) ([]byte, error) {
	canonical, err := jcs.Transform(document)
	return ed25519.Sign(i.key, append([]byte(prefix), canonical...)), err
}

func report(t testing.TB) []byte {
	t.Helper()
	r, err := Sign(Usage{LicenseID: "x", At: 1800000000, Limits: map[string]Share{"users": {5, 10, license.Deny}}}, newTestInstance())
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestReport: a report is taken as it was signed, spelled in any way, and in no other.
func TestReport(t *testing.T) {
	good := string(report(t))
	u, err := Open([]byte(good))
	if err != nil || u.Limits["users"].Used != 5 || u.Instance != newTestInstance().Fingerprint() {
		t.Fatalf("%+v, %v", u, err)
	}
	if _, err := Open([]byte(strings.ReplaceAll(good, ",", " ,\n"))); err != nil {
		t.Errorf("indented: %v", err)
	}
	for name, bad := range map[string]string{
		"a number":         strings.Replace(good, `"used":5`, `"used":4`, 1),
		"the instance":     strings.Replace(good, `"instance":"`, `"instance":"0`, 1),
		"one more member":  strings.Replace(good, `"used":5`, `"used":5,"x":1`, 1),
		"the same twice":   strings.Replace(good, `"used":5`, `"used":5,"used":5`, 1),
		"another key":      strings.Replace(good, `"public_key":"`, `"public_key":"AAAA`, 1),
		"the signature":    strings.Replace(good, `"signature":"`, `"signature":"AAAA`, 1),
		"no time":          strings.Replace(good, `1800000000`, `0`, 1),
		"empty":            "",
		"something behind": good + "x",
		"huge":             good + strings.Repeat(" ", MaxReport),
	} {
		if _, err := Open([]byte(bad)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzReport(f *testing.F) {
	good := report(f)
	f.Add(good)
	f.Add([]byte(`{"usage":{},"public_key":"","signature":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := Open(data)
		if err == nil && (u.Limits["users"].Used != 5 || u.LicenseID != "x") {
			t.Fatal("a report that nobody signed is taken")
		}
	})
}
