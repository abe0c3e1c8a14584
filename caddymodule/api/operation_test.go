package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// keys are an issuer's that can be made to fail.
type keys struct{ err error }

func (k *keys) Status() issuer.Status {
	return issuer.Status{
		Issuer: "https://login.example.com", Source: "discovery", FetchedAt: time.Unix(1_800_000_000, 5),
		Keys: []issuer.KeyStatus{{ID: "k1", Type: "EC", Algorithm: "ES256", Use: "sig", Thumbprint: "t"}},
	}
}

func (k *keys) Refresh(context.Context) error { return k.err }

func operating(k *keys) setting {
	return func(s *api.Services, site *site) {
		s.Operation = api.Operation{
			Version: "v1.2.3", Issuers: []api.IssuerKeys{{Name: "a/b", Keys: k}},
			Node:    "gw-1",
			Storage: "redis",
			Changes: func() []api.AuditEntry { return nil },
			Hour: func() api.Hour {
				return api.Hour{Series: []api.Minutes{
					{Issuer: "a/b", Result: "expired", Counts: []int{0, 7}}, {Result: "expired", Counts: []int{5, 0}}, {Issuer: "a/b", Result: "let_in", Counts: []int{1, 1}},
				}}
			},
			Explain: func(_ context.Context, token string, _ *bound.Request) auth.Explanation {
				if token == "good" {
					return auth.Explanation{Issuer: "acme", Claims: []byte(`{"sub":"a"}`)}
				}
				held := false
				return auth.Explanation{Refusal: auth.ErrNotJWS, Rules: []bound.Rule{{Rule: "form", Held: &held, Expected: "x", Found: "y"}, {Rule: "issuer"}}}
			},
		}
	}
}

const issuerBody = `{"name":"a/b","issuer":"https://login.example.com","source":"discovery","healthy":true,` +
	`"keys":[{"kid":"k1","kty":"EC","alg":"ES256","use":"sig"}],"fetched_at":"2027-01-15T08:00:00Z","next_refresh":null,` +
	`"last_error":"","last_error_at":null,"ignored":[],"restored":false,"kinds_told":false,"unclear_callers":0,"introspection":null,"events":null}`

func TestIssuers(t *testing.T) {
	k := new(keys)
	s := newSite(t, operating(k))
	s.send(http.MethodGet, "/api/issuers", "").wants(t, 200, "["+issuerBody+"]\n")
	s.send(http.MethodPost, "/api/issuers/a%2Fb/refresh", "").wants(t, 200, issuerBody+"\n")
	s.send(http.MethodPost, "/api/issuers/nobody/refresh", "").fails(t, 404, "there is no such issuer: expected a/b")
	s.send(http.MethodPost, "/api/issuers/a%2Fb", "").fails(t, 404, "expected /refresh behind the name")
	s.send(http.MethodGet, "/api/issuers/a%2Fb/refresh", "").fails(t, 405, "method not allowed")
	k.err = errors.New("connection refused")
	got := s.send(http.MethodPost, "/api/issuers/a%2Fb/refresh", "")
	got.fails(t, 503, "connection refused")
	if got.header.Get("Retry-After") != "5" {
		t.Errorf("got Retry-After %q", got.header.Get("Retry-After"))
	}
	if trail := s.trail(); !strings.Contains(trail, "acme/alice issuer.refresh a/b done") || !strings.Contains(trail, "issuer.refresh a/b failed") {
		t.Errorf("the audit log is %q", trail)
	}
	s.send(http.MethodGet, "/api/issuers", "", s.token(map[string]any{"sub": "bob"})).fails(t, 403, "group")
}

func TestExplain(t *testing.T) {
	s := newSite(t, operating(new(keys)))
	const path = "/api/tokens/explain"
	s.send(http.MethodPost, path, `{"token":"good"}`).wants(t, 200,
		`{"verdict":"let_in","reason":"","message":"the token is good; no rules of a route were asked","issuer":"acme","rules":[],"claims":{"sub":"a"}}`+"\n")
	s.send(http.MethodPost, path, `{"token":"bad"}`).wants(t, 200,
		`{"verdict":"refused","reason":"not_jws","message":"the token is not a signed JWT in compact form","issuer":"",`+
			`"rules":[{"rule":"form","held":false,"expected":"x","found":"y"},{"rule":"issuer","held":null,"expected":null,"found":null}],"claims":null}`+"\n")
	for body, status := range map[string]int{
		`{"token":""}`: 422, `{}`: 422, `{"token":null}`: 422, `{"token":1}`: 400, `{"Token":"x"}`: 400,
		`{"token":"x","token":"x"}`: 400, `{"token":"x","more":1}`: 400, `hello`: 400, `[]`: 400, `null`: 400,
		`{"token":"` + strings.Repeat("a", 64<<10) + `"}`: 413,
	} {
		s.send(http.MethodPost, path, body).fails(t, status, "")
	}
	s.send(http.MethodPost, path, `{"token":"good"}`, s.token(nil)).fails(t, 403, "group")
	s.send(http.MethodPost, path, `{"token":"good","rule":"payments"}`).fails(t, 422, "rule: no rules have a name: write `name` in a bearer_auth")
}

// The rules of a route are held against the token if they are named.
func TestExplainRules(t *testing.T) {
	payments, err := auth.Rules{Scopes: []string{"pay"}}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, operating(new(keys)), func(s *api.Services, _ *site) {
		s.Operation.Rules = func(name string) (*auth.Predicate, []string) {
			if name == "payments" {
				return payments, []string{"orders", "payments"}
			}
			return nil, []string{"orders", "payments"}
		}
	})
	const path = "/api/tokens/explain"
	s.send(http.MethodPost, path, `{"token":"bad","rule":"payments"}`).wants(t, 200,
		`{"verdict":"refused","reason":"not_jws","message":"the token is not a signed JWT in compact form","issuer":"",`+
			`"rules":[{"rule":"form","held":false,"expected":"x","found":"y"},{"rule":"issuer","held":null,"expected":null,"found":null},`+
			`{"rule":"route_scope","held":null,"expected":null,"found":null}],"claims":null}`+"\n")
	s.send(http.MethodPost, path, `{"token":"good","rule":"refunds"}`).fails(t, 422, "rule: no rules are called so, expected one of: orders, payments")
	s.send(http.MethodPost, path, `{"token":"good","rule":7}`).fails(t, 400, "")
}

func TestStatus(t *testing.T) {
	s := newSite(t, operating(new(keys)))
	status := s.send(http.MethodGet, "/api/status", "").object(t)
	accounts := status["accounts"].(map[string]any)
	refusals := status["refusals"].(map[string]any)
	if status["version"] != "v1.2.3" || status["node"] != "gw-1" || status["storage"] != "redis" || len(status["changes"].([]any)) != 0 || status["license"] != nil || len(refusals) != 1 || refusals["expired"] != 12.0 ||
		accounts["loaded"] != true || accounts["active"] != 0.0 || accounts["synced_at"] == nil {
		t.Errorf("got %v", status)
	}
	issuers, err := json.Marshal(status["issuers"])
	if err != nil || !strings.Contains(string(issuers), "login.example.com") {
		t.Errorf("got the issuers %s, %v", issuers, err)
	}
	s.send(http.MethodGet, "/api/status", "", s.token(nil)).fails(t, 403, "group")
}

// That storage is out of reach is reported as soon as it is noticed, until it answers
// again.
func TestStatusReportsStorage(t *testing.T) {
	s := newSite(t, operating(new(keys)))
	away := func() any {
		return s.send(http.MethodGet, "/api/status", "").object(t)["accounts"].(map[string]any)["storage_away"]
	}
	for _, down := range []bool{false, true, false} {
		s.storage.SetDown(down)
		for end := time.Now().Add(10 * time.Second); away() != down; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("storage down: %v, and the status says otherwise", down)
			}
		}
	}
}

// The page must run nothing but its own style and script, take in nothing from
// elsewhere, and hold no data.
func TestPage(t *testing.T) {
	s := newSite(t, operating(new(keys)))
	got := s.send(http.MethodGet, "/gatehouse/", "", func(r *http.Request) { r.Header.Del("Authorization") })
	if got.status != 200 || got.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d %v", got.status, got.header)
	}
	for name, want := range map[string]string{
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
	} {
		if got.header.Get(name) != want {
			t.Errorf("got %s %q, want %q", name, got.header.Get(name), want)
		}
	}
	policy := got.header.Get("Content-Security-Policy")
	for _, element := range []string{"style", "script"} {
		content := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(got.body, -1)
		if len(content) != 1 {
			t.Fatalf("the page has %d elements %s, want one", len(content), element)
		}
		digest := sha256.Sum256([]byte(content[0][1]))
		if !strings.Contains(policy, element+"-src 'sha256-"+base64.StdEncoding.EncodeToString(digest[:])+"'") {
			t.Errorf("the policy %q does not allow the page's %s", policy, element)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	if found := regexp.MustCompile(`https?://|localStorage|sessionStorage|document\.cookie|innerHTML|style="| on[a-z]+="`).FindString(got.body); found != "" {
		t.Errorf("the page holds %q", found)
	}
	s.send(http.MethodPost, "/gatehouse/", "").fails(t, 405, "method not allowed")
	const trusted = "<html data-trusted "
	s.trusted = true
	if known := s.send(http.MethodGet, "/gatehouse/", "", none).body; strings.Replace(known, trusted, "<html ", 1) != got.body || !strings.Contains(known, trusted) {
		t.Errorf("who is trusted gets %.60q", known)
	}
}
