package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// site is a server that speaks the API as the contract has it.
type site struct {
	t      *testing.T
	server *httptest.Server
	token  string // that is asked for; empty: none

	mu       sync.Mutex
	asked    []string // method and escaped path with query, in order
	bodies   []string
	accounts map[string]map[string]any // by subject
	issuers  string
	status   string
	licenses []string
	answers  map[string]answer // instead of what the site would say, by method and path
}

type answer struct {
	status int
	header http.Header
	body   string
}

const goodToken = "eyJhbGciOiJub25lIn0.e30.c2VjcmV0" //nolint:gosec // Opens nothing.

// newSite starts a server and a shell whose commands ask it.
func newSite(t *testing.T) (*site, *shell) {
	t.Helper()
	g := &site{
		t: t, token: goodToken, accounts: map[string]map[string]any{}, answers: map[string]answer{},
		issuers: `[{"name":"acme","issuer":"https://login.acme.example","source":"discovery","healthy":true,"keys":[]}]`,
	}
	g.server = httptest.NewServer(g)
	t.Cleanup(g.server.Close)
	s := newShell(t)
	s.env[tokenVariable] = goodToken
	s.connection = []string{"--address", g.address()}
	return g, s
}

func (g *site) address() string { return g.server.Listener.Addr().String() }

func (g *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	target := r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	g.asked = append(g.asked, r.Method+" "+target)
	if g.token != "" && r.Header.Get("Authorization") != "Bearer "+g.token {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatehouse"`)
		fail(w, http.StatusUnauthorized, "a bearer token is needed")
		return
	}
	body, _ := io.ReadAll(r.Body)
	g.bodies = append(g.bodies, string(body))
	if said, ok := g.answers[r.Method+" "+r.URL.EscapedPath()]; ok {
		maps.Copy(w.Header(), said.header)
		w.WriteHeader(said.status)
		_, _ = io.WriteString(w, said.body)
		return
	}
	g.route(w, r, body)
}

func (g *site) route(w http.ResponseWriter, r *http.Request, body []byte) {
	path := r.URL.EscapedPath()
	key, oneAccount := strings.CutPrefix(r.URL.Path, accountsPath+"/")
	switch {
	case path == "/api/status":
		_, _ = io.WriteString(w, g.status)
	case path == "/api/issuers":
		_, _ = io.WriteString(w, g.issuers)
	case strings.HasPrefix(path, "/api/issuers/") && r.Method == http.MethodPost:
		_, _ = io.WriteString(w, `{"healthy":true,"keys":[]}`)
	case path == "/api/orgs/licenses":
		g.listLicenses(w, r)
	case path == "/api/orgs/license" && r.Method == http.MethodPut:
		w.WriteHeader(http.StatusNoContent)
	case path == accountsPath+":import":
		g.importLines(w, r, body)
	case path == accountsPath && r.Method == http.MethodPost:
		g.create(w, body)
	case path == accountsPath:
		g.list(w, r)
	case oneAccount:
		g.oneAccount(w, r, key, body)
	default:
		fail(w, http.StatusNotFound, "there is no such route")
	}
}

func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func (g *site) listLicenses(w http.ResponseWriter, r *http.Request) {
	page := g.licenses
	if after := r.URL.Query().Get("after"); after != "" {
		at := slices.IndexFunc(page, func(entry string) bool { return strings.Contains(entry, `"id":"`+after+`"`) })
		page = page[at+1:]
	}
	if limit, _ := strconv.Atoi(r.URL.Query().Get("limit")); limit > 0 {
		page = page[:min(limit, len(page))]
	}
	_, _ = fmt.Fprintf(w, `{"licenses":[%s]}`, strings.Join(page, ","))
}

// add puts an account there; declared ones have no times.
func (g *site) add(subject, status string, more map[string]any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.put(subject, status, more)
}

// says makes the site answer that.
func (g *site) says(request string, a answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers[request] = a
}

func (g *site) put(subject, status string, more map[string]any) {
	a := map[string]any{
		"id": account.ID(subject), "org_id": account.OrgID, "subject": subject, "name": "", "status": status,
		"groups": []string{}, "issuer": "acme", "created_at": "2026-05-01T00:00:00Z", "updated_at": "2026-05-02T00:00:00Z",
	}
	maps.Copy(a, more)
	maps.DeleteFunc(a, func(_ string, v any) bool { return v == nil })
	g.accounts[subject] = a
}

func (g *site) create(w http.ResponseWriter, body []byte) {
	var a map[string]any
	_ = json.Unmarshal(body, &a)
	if _, err := account.Decode(body); err != nil {
		fail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	subject := a["subject"].(string)
	if g.accounts[subject] != nil {
		fail(w, http.StatusConflict, "resource already exists")
		return
	}
	g.put(subject, a["status"].(string), a)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(g.accounts[subject])
}

func (g *site) list(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > 1000 {
		fail(w, http.StatusBadRequest, "limit: expected a number from 1 to 1000")
		return
	}
	page := []map[string]any{}
	for _, subject := range slices.Sorted(maps.Keys(g.accounts)) {
		if subject > r.URL.Query().Get("after") && len(page) < limit {
			page = append(page, g.accounts[subject])
		}
	}
	_ = json.NewEncoder(w).Encode(page)
}

func (g *site) oneAccount(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	a := g.accounts[key]
	switch {
	case a == nil:
		fail(w, http.StatusNotFound, "resource not found")
		return
	case r.Method != http.MethodGet && a["created_at"] == nil:
		fail(w, http.StatusConflict, account.ErrDeclared.Error())
		return
	case r.Method == http.MethodDelete:
		delete(g.accounts, key)
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method == http.MethodPut:
		if _, err := account.DecodeReplacement(body); err != nil {
			fail(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		_ = json.Unmarshal(body, &a)
	}
	_ = json.NewEncoder(w).Encode(a)
}

// importLines does as the API does: all lines or, if one is no account, none.
func (g *site) importLines(w http.ResponseWriter, r *http.Request, body []byte) {
	if ct := r.Header.Get("Content-Type"); ct != "application/x-ndjson" {
		fail(w, http.StatusBadRequest, "wrong content type: "+ct)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	number := 0
	for text := range bytes.Lines(body) {
		number++
		var a map[string]any
		if err := json.Unmarshal(text, &a); err != nil {
			fail(w, http.StatusBadRequest, fmt.Sprintf("line %d: %v; nothing was written", number, err))
			return
		}
		_ = out.Encode(g.importOne(number, a, r.URL.Query().Get("mode") == "upsert"))
	}
}

func (g *site) importOne(number int, a map[string]any, upsert bool) api.ImportResult {
	subject := a["subject"].(string)
	result := api.ImportResult{Line: number, Subject: subject, Result: "created"}
	switch there := g.accounts[subject]; {
	case there == nil:
	case !upsert:
		result.Result, result.Message = "refused", "resource already exists"
		return result
	case there["status"] == a["status"]:
		result.Result = "unchanged"
		return result
	default:
		result.Result = "updated"
	}
	g.put(subject, a["status"].(string), a)
	return result
}

// got are the requests since the last call.
func (g *site) got() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := g.asked
	g.asked = nil
	return asked
}

func (g *site) wantAsked(want ...string) {
	g.t.Helper()
	if got := g.got(); !slices.Equal(got, want) {
		g.t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
