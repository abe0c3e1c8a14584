package caddymodule_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// engines are the storages that a configuration names by `storage faulty NAME`.
var engines sync.Map // of *faultstorage.Engine

func init() { caddy.RegisterModule(faultStorage{}) }

// faultStorage makes a [faultstorage.Engine] the storage of a running Caddy.
type faultStorage struct {
	Name string `json:"name,omitempty"`
}

func (faultStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.faulty", New: func() caddy.Module { return new(faultStorage) }}
}

func (s *faultStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.Next(); !d.Args(&s.Name) {
		return d.ArgErr()
	}
	return nil
}

// faultHandle is what Caddy gives to modules. Its JSON tells engines apart.
type faultHandle struct {
	*faultstorage.Node `json:"-"`
	Name               string
}

func (s *faultStorage) CertMagicStorage() (certmagic.Storage, error) {
	engine, ok := engines.Load(s.Name)
	if !ok {
		return nil, fmt.Errorf("no engine %q", s.Name)
	}
	return faultHandle{engine.(*faultstorage.Engine).Node(), s.Name}, nil
}

// newEngine makes a storage; its name goes behind `storage faulty`.
func newEngine(t *testing.T, engine *faultstorage.Engine) (name string) {
	t.Helper()
	name = unique("engine")
	engines.Store(name, engine)
	t.Cleanup(func() {
		engine.Release()
		engines.Delete(name)
	})
	return name
}

// register fills a storage with machines m-0, m-1, …
func register(t *testing.T, engine *faultstorage.Engine, count int) {
	t.Helper()
	accounts := account.New(registry.Options{})
	accounts.Attach(registry.Host[account.Account]{Storage: engine.Node()})
	defer accounts.Close()
	changes := make([]account.Change, count)
	for i := range changes {
		changes[i] = account.Change{Op: account.Create, Draft: &account.Draft{
			Subject: "m-" + strconv.Itoa(i), Status: account.StatusActive, Issuer: "acme",
		}}
	}
	if _, err := accounts.Apply(t.Context(), changes, nil); err != nil {
		t.Fatal(err)
	}
}

// withTrip is an engine with the same values that takes its time.
func withTrip(from *faultstorage.Engine, trip time.Duration) *faultstorage.Engine {
	slow := faultstorage.New(faultstorage.Faults{Trip: trip})
	for _, key := range from.Keys() {
		slow.Set(key, from.Value(key))
	}
	return slow
}

const slowStart = `{
	WITHADMIN
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	gatehouse_api
	bearer_auth
	respond "in"
}
`

// startSlowly starts a Caddy with that storage.
func startSlowly(t *testing.T, engine string) *apiGateway {
	t.Helper()
	g := prepareSlowly(t)
	g.loadWith(engine)
	return g
}

// prepareSlowly is for tests of the first seconds: what they send is made before
// [apiGateway.loadWith] starts the Caddy.
func prepareSlowly(t *testing.T) *apiGateway {
	t.Helper()
	g := &apiGateway{prepare(t), newIssuer(t), nil}
	t.Cleanup(func() {
		if err := caddy.Load([]byte(`{"admin":{"disabled":true,"config":{"persist":false}}}`), true); err != nil {
			t.Errorf("switching the admin endpoint off: %v", err)
		}
	})
	return g
}

// loadWith loads the configuration with that storage.
func (g *apiGateway) loadWith(engine string) {
	g.t.Helper()
	g.gateway.vars = []string{
		"WITHADMIN", strings.Replace(apiGlobals, "file_system DIR/storage", "faulty "+engine, 1), "ISSUER", g.issuer.URL,
	}
	if err := g.load(slowStart); err != nil {
		g.t.Fatal(err)
	}
}

// machines are the tokens of m-0 to m-(count-1).
func (g *apiGateway) machines(count int) []string {
	tokens := make([]string, count)
	for i := range tokens {
		subject := "m-" + strconv.Itoa(i)
		tokens[i] = mint(g.issuer, claims{"sub": subject, "azp": subject})
	}
	return tokens
}

// A start, and a reload to another storage, refuse no machine that is registered
// because the accounts are still being read; one that is not hears so.
func TestAStartWaitsForItsAccounts(t *testing.T) {
	if apart(t) {
		return
	}
	filled := faultstorage.New(faultstorage.Faults{})
	register(t, filled, 3000)
	const trip = 50 * time.Millisecond
	g := prepareSlowly(t)
	tokens, stranger := g.machines(100), g.machine("nobody")
	g.loadWith(newEngine(t, withTrip(filled, trip)))
	wantAll := func(t *testing.T, when string) {
		t.Helper()
		begun := time.Now()
		if counts := g.all(tokens); counts[http.StatusOK] != len(tokens) {
			t.Errorf("%s: got %v, want all let in", when, counts)
		}
		t.Logf("%s: %v", when, time.Since(begun))
	}
	wantAll(t, "at a start")
	if got := g.get("/", stranger); got.status != http.StatusUnauthorized {
		t.Errorf("got %d for a stranger, want 401", got.status)
	}
	g.loadWith(newEngine(t, withTrip(filled, trip)))
	wantAll(t, "at a reload to another storage")
	g.stop()
	g.loadWith(newEngine(t, withTrip(filled, trip)))
	if got := g.get("/", stranger); got.status != http.StatusUnauthorized {
		t.Errorf("got %d for a stranger in the first moments, want 401", got.status)
	}
}

// Nothing that the API says in the first moments takes what is not read yet for
// what is not there.
func TestTheAPIWaitsForItsAccounts(t *testing.T) {
	if apart(t) {
		return
	}
	filled := faultstorage.New(faultstorage.Faults{})
	register(t, filled, 300)
	for name, c := range map[string]struct{ method, path, body, want string }{
		"change":  {"PUT", "/api/serviceaccounts/m-7", `{"status":"inactive"}`, `"m-7"`},
		"delete":  {"DELETE", "/api/serviceaccounts/m-7", "", ""},
		"show":    {"GET", "/api/serviceaccounts/m-7", "", `"m-7"`},
		"list":    {"GET", "/api/serviceaccounts", "", `"m-7"`},
		"confirm": {"POST", "/api/serviceaccounts:confirm", `{"issuer":"acme"}`, `300`},
	} {
		t.Run(name, func(t *testing.T) {
			g := startSlowly(t, newEngine(t, withTrip(filled, 20*time.Millisecond)))
			got := g.send(c.method, c.path, g.admin(), content(c.body))
			if got.status != http.StatusOK && got.status != http.StatusNoContent || !strings.Contains(got.body, c.want) {
				t.Errorf("got %d %.200s, want 200 with %s", got.status, got.body, c.want)
			}
		})
	}
}

// Storage that is away, or never answers, is waited for once and for a bounded
// time; whoever comes after that is answered at once, and nothing stays behind.
func TestAStartWithStorageAway(t *testing.T) {
	if apart(t) {
		return
	}
	for name, engine := range map[string]*faultstorage.Engine{
		"away":    faultstorage.New(faultstorage.Faults{}),
		"missing": faultstorage.New(faultstorage.Faults{MissingWhileDown: true}),
		"hangs":   faultstorage.New(faultstorage.Faults{Trip: 20 * time.Second}),
	} {
		t.Run(name, func(t *testing.T) {
			engine.SetDown(true)
			g := prepareSlowly(t)
			tokens := g.machines(50)
			g.loadWith(newEngine(t, engine))
			begun := time.Now()
			if counts := g.all(tokens); counts[http.StatusServiceUnavailable] != len(tokens) {
				t.Errorf("got %v, want all refused with 503", counts)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("the first answers took %v, want some 5s at most", took)
			}
			eventually(t, "the outage is known", func() bool { return strings.Contains(g.log(), "storage of the service accounts cannot be used") })
			begun = time.Now()
			for range 20 {
				got := g.get("/", bearer(tokens[0]))
				if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
					t.Errorf("got %d %v, want 503 with Retry-After", got.status, got.header)
				}
			}
			if got := g.send("GET", "/api/serviceaccounts/m-7", g.admin()); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
				t.Errorf("got %d %v of the API, want 503 with Retry-After", got.status, got.header)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("21 answers once the outage is known took %v, want them at once", took)
			}
			if waiting := waiters(t); waiting != 0 {
				t.Errorf("%d goroutines still wait for the accounts", waiting)
			}
		})
	}
}

// Callers who go away leave nothing behind. The reading takes a minute: so long there
// is something to wait for, however late the callers come.
func TestNobodyWaitsForAccountsLongerThanTheirCaller(t *testing.T) {
	filled := faultstorage.New(faultstorage.Faults{})
	register(t, filled, 1000)
	g := prepareSlowly(t)
	tokens := g.machines(20)
	g.loadWith(newEngine(t, withTrip(filled, 2*time.Second)))
	ctx, cancel := context.WithCancel(t.Context())
	var requests sync.WaitGroup
	for _, token := range tokens {
		requests.Go(func() {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.site+"/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			request.Header.Set("Authorization", "Bearer "+token)
			if response, err := g.client.Do(request); err == nil {
				response.Body.Close()
			}
		})
	}
	eventually(t, "they wait", func() bool { return waiters(t) > 0 })
	cancel()
	requests.Wait()
	eventually(t, "nobody waits", func() bool { return waiters(t) == 0 })
}

// waiters counts the goroutines that wait for the first reading.
func waiters(t *testing.T) int {
	t.Helper()
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	return strings.Count(stacks.String(), "AwaitReading(")
}
