package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is the API behind a real HTTP server, with real tokens and accounts in a
// storage that can be taken down.
type site struct {
	t        *testing.T
	url      string
	client   *http.Client
	issuer   *idp.Issuer
	storage  *faultstorage.Engine
	registry *account.Registry
	trusted  bool
	relay    http.HandlerFunc // the API itself

	mu      sync.Mutex
	audited []api.AuditEntry
	failed  []*api.Problem
}

type setting func(*api.Services, *site)

// newSite serves the API; declared accounts are laid over the stored ones.
func newSite(t *testing.T, settings ...setting) *site {
	t.Helper()
	s := &site{t: t, storage: faultstorage.New(faultstorage.Faults{})}
	s.registry = account.New(registry.Options{WriteLimit: 1500 * time.Millisecond, CallLimit: 700 * time.Millisecond})
	services := api.Services{
		AdminGroup: api.Group{Name: "admin"}, SigningGroup: api.Group{Name: "signers"}, Issuers: account.Issuers{{Name: "acme"}},
		Accounts: s.registry, Audit: s.audit, LogError: s.logError,
	}
	s.serveTokens(&services)
	for _, set := range settings {
		set(&services, s)
	}
	s.registry.Attach(registry.Host[account.Account]{Storage: s.storage.Node(), Refresh: registry.MinRefresh})
	t.Cleanup(func() { s.storage.Release(); _ = s.registry.Close() })
	if err := s.registry.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.relay = s.handler(api.New(services))
	server := httptest.NewServer(s.relay)
	s.url, s.client = server.URL, &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() { s.client.CloseIdleConnections(); server.Close() })
	return s
}

// serveTokens lets tokens of a real issuer in.
func (s *site) serveTokens(services *api.Services) {
	var err error
	if s.issuer, err = idp.New(); err != nil {
		s.t.Fatal(err)
	}
	engine, err := issuer.New(issuer.Config{Issuer: s.issuer.URL}, issuer.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = engine.Close(); _ = s.issuer.Close() })
	verifier, err := auth.NewVerifier(auth.VerifierConfig{CacheBytes: 1 << 20, Issuers: []auth.AcceptedIssuer{{
		Policy: auth.Policy{Name: "acme", Issuer: s.issuer.URL, Audiences: []string{idp.DefaultAudience}}, Keys: engine,
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
	registration := &auth.Registration{Accounts: services.Accounts.(*account.Registry)}
	services.Authenticate = func(r *http.Request, groups ...api.Group) (*auth.Principal, *auth.Refusal) {
		token, refusal := auth.ParseAuthorization(r.Header["Authorization"])
		if refusal != nil {
			return nil, refusal
		}
		verdict := verifier.Verify(r.Context(), token)
		if verdict.Refusal != nil {
			return nil, verdict.Refusal
		}
		caller, refusal := registration.Admit(verdict.Token, verdict.At)
		if refusal == nil {
			refusal = api.CheckGroups(caller, groups)
		}
		return caller, refusal
	}
}

// handler answers 418 to what is not the API's.
func (s *site) handler(a *api.API) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.ServeHTTP(w, r, s.trusted) {
			w.WriteHeader(http.StatusTeapot)
		}
	}
}

func (s *site) audit(e api.AuditEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.audited = append(s.audited, e)
}

func (s *site) logError(p *api.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, p)
}

// takeStorageDown waits until the lock of the last change is given back, which is
// after the answer: else nobody could have it while storage is down.
func (s *site) takeStorageDown() {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); s.storage.Held("gatehouse-accounts"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("the lock of the accounts is not given back")
		}
	}
	s.storage.SetDown(true)
}

// trail is the audit log so far, a line an entry.
func (s *site) trail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, e := range s.audited {
		fmt.Fprintln(&b, e.Actor, e.Action, e.Target, e.Outcome)
	}
	return b.String()
}

func (s *site) failures() []*api.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

type edit func(*http.Request)

func header(name string, values ...string) edit {
	return func(r *http.Request) { r.Header[name] = values }
}

func (s *site) token(claims map[string]any) edit {
	return header("Authorization", "Bearer "+s.issuer.Mint(claims))
}

// admin is the token of a person who may administer.
func (s *site) admin() edit {
	return s.token(map[string]any{"sub": "alice", "groups": []string{"admin"}})
}

type answer struct {
	status int
	header http.Header
	body   string
}

// send makes a request as an administrator, unless an edit says otherwise.
func (s *site) send(method, path, body string, edits ...edit) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost || method == http.MethodPut {
		request.Header.Set("Content-Type", "application/json")
	}
	s.admin()(request)
	for _, edit := range edits {
		edit(request)
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(data)}
}

// wants holds an answer against a status and a body.
func (a answer) wants(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("got %d %q, want %d %q", a.status, a.body, status, body)
	}
	if control := a.header.Get("Cache-Control"); control != "no-store" {
		t.Errorf("got Cache-Control %q, want no-store", control)
	}
}

// fails holds an answer against a status and the text of {"message": …}.
func (a answer) fails(t *testing.T, status int, text string) {
	t.Helper()
	var body map[string]string
	decoder := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	if err := decoder.Decode(&body); err != nil || len(body) != 1 || a.status != status || !strings.Contains(body["message"], text) {
		t.Errorf("got %d %q, want %d with a message about %q", a.status, a.body, status, text)
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got the header %v", a.header)
	}
}

// object is the body as a JSON object.
func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(a.body), &object); err != nil {
		t.Fatalf("got %d %q: %v", a.status, a.body, err)
	}
	return object
}
