package active

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

func TestMain(m *testing.M) {
	// Caddy's storage sees up to five seconds late that a lock was given back.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

const (
	unit = time.Minute
	warn = 10 * unit
)

var vendorKey = sync.OnceValue(func() crypto.Signer {
	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		panic(err)
	}
	return key
})

// sign makes a license of 100 units for a customer, as change makes it.
func sign(t testing.TB, customer string, change ...func(*license.Request)) *license.License {
	t.Helper()
	s, err := license.NewSigner(license.SignerConfig{Key: vendorKey()})
	if err != nil {
		t.Fatal(err)
	}
	r := license.Request{
		Type: license.Enterprise, AllowedHosts: []string{"*.johnwick.org"}, Description: customer, TTL: 100 * unit,
	}
	for _, c := range change {
		c(&r)
	}
	l, err := s.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func text(t testing.TB, l *license.License) []byte {
	t.Helper()
	data, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func signed(t testing.TB, customer string, change ...func(*license.Request)) []byte {
	t.Helper()
	return text(t, sign(t, customer, change...))
}

func lastingFor(d time.Duration) func(*license.Request) {
	return func(r *license.Request) { r.TTL = d }
}

func from(at time.Time) func(*license.Request) {
	return func(r *license.Request) { r.NotBefore = new(at.Unix()) }
}

// broken is a license that somebody changed.
func broken(data []byte) []byte {
	return []byte(strings.Replace(string(data), `"enterprise"`, `"oss"`, 1))
}

// verifier trusts the vendor; grace is 5 units.
func verifier(t testing.TB, now func() time.Time) *license.Verifier {
	t.Helper()
	keys, err := license.NewKeySet(license.TrustedKey{Key: vendorKey().Public()})
	if err != nil {
		t.Fatal(err)
	}
	v, err := license.NewVerifier(license.Config{Keys: keys, Warn: warn, Grace: 5 * unit, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newKeeper(t testing.TB, s Source, known ...byte) *Keeper {
	t.Helper()
	k, err := New(Config{Source: s, Verifier: verifier(t, nil), Known: known}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// started is a keeper that a configuration uses, after its first look.
func started(t *testing.T, source Source, s storage.Storage) (*Keeper, *log) {
	t.Helper()
	k, l := newKeeper(t, source), &log{}
	t.Cleanup(k.Attach(Host{Storage: s, Observe: l.observe}))
	synctest.Wait()
	return k, l
}

// customer is the description of the license in force.
func customer(k *Keeper) string {
	l := k.Validity().License()
	if l == nil {
		return "nobody"
	}
	return l.Payload.Description
}

func wantState(t *testing.T, k *Keeper, want license.State) {
	t.Helper()
	if got := k.Validity().State(); got != want {
		t.Errorf("state %s, want %s", got, want)
	}
}

func wantCustomer(t *testing.T, k *Keeper, want string) {
	t.Helper()
	if got := customer(k); got != want {
		t.Errorf("the license of %q is in force, want that of %q", got, want)
	}
}

// wantRefusal makes sure that an error is the library's, for this reason.
func wantRefusal(t *testing.T, err error, reason license.Reason) {
	t.Helper()
	var e *license.Error
	if !errors.As(err, &e) || e.Reason != reason {
		t.Errorf("error %v, want reason %s", err, reason)
	}
}

func wantErrors(t *testing.T, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("error %v, want %v", err, w)
		}
	}
}

// log is an observer that remembers.
type log struct {
	mu     sync.Mutex
	events []Event
}

func (l *log) observe(ev Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, ev)
}

// take returns the events since the last time.
func (l *log) take() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.events
	l.events = nil
	return taken
}

// want compares the events since the last time: a change of state is written
// "from>to", others as their kind.
func (l *log) want(t *testing.T, want ...string) []Event {
	t.Helper()
	synctest.Wait()
	events := l.take()
	got := []string{}
	for _, ev := range events {
		short := string(ev.Kind)
		if ev.Kind == StateChanged {
			short = fmt.Sprintf("%s>%s", ev.From, ev.To)
		}
		got = append(got, short)
	}
	if !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("events %v, want %v", got, want)
		for _, ev := range events {
			t.Logf("%s: %s %v", ev.Kind, ev.Words, ev.Err)
		}
	}
	return events
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantInAnyOrder is for events that two goroutines note.
func (l *log) wantInAnyOrder(t *testing.T, want ...EventKind) {
	t.Helper()
	synctest.Wait()
	got := []EventKind{}
	for _, ev := range l.take() {
		got = append(got, ev.Kind)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// licenseFile is a file that holds data, or no file if it is nil.
func licenseFile(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "license.json")
	if data != nil {
		write(t, path, data)
	}
	return path
}
