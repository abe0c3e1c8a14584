package caddymodule_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMetrics(t *testing.T) {
	metered := unique("metered")
	g, issuer, admin := observe(t, metered)
	before := g.scrape()
	good := mint(issuer, nil)
	for range 3 {
		if got := g.get("/all/", bearer(good)); got.status != http.StatusOK {
			t.Fatalf("got %d %v", got.status, got.header)
		}
	}
	g.get("/all/", bearer(mint(issuer, claims{"exp": 1})))
	g.get("/all/", bearer("opaque"))
	g.get("/all/")
	g.get("/scope/", bearer(good))
	g.do(g.client, http.MethodPost, "http://"+admin+"/api/issuers/"+metered+"-down/refresh")
	now := g.scrape()
	for series, want := range map[string]float64{
		tokens(metered, "let_in"):          3,
		tokens(metered, "expired"):         1,
		tokens(metered, "scope"):           1,
		tokens(metered, "signature"):       0,
		tokens("", "not_jws"):              1,
		tokens("", "no_token"):             1,
		`token_cache_total{result="hit"}`:  3,
		`token_cache_total{result="miss"}`: 3,
	} {
		if got := now.since(t, before, series); got != want {
			t.Errorf("%s grew by %v, want %v", series, got, want)
		}
	}
	if n := now.since(t, before, `token_verify_duration_seconds_count{issuer="`+metered+`"}`); n != 1 {
		t.Errorf("%v tokens were timed, want the one that was verified", n)
	}
	if age, ok := now[`jwks_age_seconds{issuer="`+metered+`"}`]; !ok || age < 0 || age > 60 {
		t.Errorf("the keys' age is %v", age)
	}
	if _, ok := now[`jwks_age_seconds{issuer="`+metered+`-down"}`]; ok {
		t.Error("keys that never were there have an age")
	}
	eventually(t, "the fetches are counted, which happens after they land", func() bool {
		now = g.scrape()
		return now[`jwks_fetches_total{issuer="`+metered+`",result="success"}`] == 1 && now[`jwks_fetches_total{issuer="`+metered+`-down",result="failure"}`] > 0
	})
}

// The API has an entrance of its own, which counts and logs like the others. Who
// needs no token is not counted.
func TestTheAPICountsTokens(t *testing.T) {
	name := unique("api")
	g, issuer, admin := observe(t, name)
	good := mint(issuer, nil)
	before, lines := g.scrape(), len(g.logged("request refused"))
	for _, c := range []struct {
		path   string
		edits  []edit
		status int
	}{
		{"/api/userinfo", []edit{bearer(good)}, http.StatusOK},
		{"/gw/api/userinfo", []edit{bearer(good)}, http.StatusOK},
		{"/api/userinfo", nil, http.StatusUnauthorized},
		{"/api/userinfo", []edit{bearer("opaque")}, http.StatusUnauthorized},
		{"/api/userinfo", []edit{bearer(mint(issuer, claims{"exp": 1}))}, http.StatusUnauthorized},
		{"/api/issuers", []edit{bearer(good)}, http.StatusForbidden},
	} {
		if got := g.get(c.path, c.edits...); got.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.path, got.status, got.body, c.status)
		}
	}
	if got := g.do(g.client, http.MethodGet, "http://"+admin+"/api/issuers"); got.status != http.StatusOK {
		t.Errorf("got %d %s of the admin endpoint", got.status, got.body)
	}
	now := g.scrape()
	for series, want := range map[string]float64{
		tokens(name, "let_in"): 2, tokens("", "no_token"): 1, tokens("", "not_jws"): 1, tokens(name, "expired"): 1, tokens(name, "group"): 1,
	} {
		if got := now.since(t, before, series); got != want {
			t.Errorf("%s grew by %v, want %v", series, got, want)
		}
	}
	var reasons []any
	for _, line := range g.logged("request refused")[lines:] {
		reasons = append(reasons, line["reason"])
	}
	if want := []any{"no_token", "not_jws", "expired", "group"}; !slices.Equal(reasons, want) {
		t.Errorf("the log has refusals for %v, want %v", reasons, want)
	}
}

func TestGaugesAreReadAtTheScrape(t *testing.T) {
	name := unique("gauged")
	g, _, admin := observe(t, name)
	for series, want := range map[string]float64{
		`service_accounts{status="active"}`:   1,
		`service_accounts{status="inactive"}`: 1,
		`service_accounts{status="expired"}`:  0,
		`license_state{state="missing"}`:      1,
		`license_state{state="valid"}`:        0,
		`clock_suspect`:                       0,
	} {
		if got, ok := g.scrape()[series]; !ok || got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	made := post(g, "http://"+admin+"/api/serviceaccounts", `{"subject":"new","status":"active","issuer":"`+name+`"}`)
	if made.status != http.StatusCreated {
		t.Fatalf("got %d %s", made.status, made.body)
	}
	now := g.scrape()
	if n := now[`service_accounts{status="active"}`]; n != 2 {
		t.Errorf("%v active accounts, want 2 at once", n)
	}
	if at := now["storage_sync_timestamp_seconds"]; time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("storage was reached at %v, want just now", at)
	}
	if _, ok := now["license_expiry_timestamp_seconds"]; ok {
		t.Error("no license has an end")
	}
}

// Counters belong to the process: a reload does not begin them anew, and one
// that fails does no harm.
func TestMetricsSurviveReloads(t *testing.T) {
	name := unique("reloaded")
	g, issuer, _ := observe(t, name)
	good := mint(issuer, nil)
	g.get("/all/", bearer(good))
	first := g.scrape()
	for _, config := range []string{observed, strings.Replace(observed, "issuer DOWN {", "issuer nonsense {", 1), observed} {
		_ = g.load(config)
	}
	g.get("/all/", bearer(good))
	now := g.scrape()
	if n := now.since(t, first, tokens(name, "let_in")); n != 1 || first[tokens(name, "let_in")] != 1 {
		t.Errorf("%v let in before the reloads and %v after, want 1 each", first[tokens(name, "let_in")], n)
	}
	if n := now.since(t, first, `jwks_fetches_total{issuer="`+name+`",result="success"}`); n != 0 {
		t.Errorf("%v fetches, want none", n)
	}
	if _, ok := now[`service_accounts{status="active"}`]; !ok {
		t.Error("the gauges are gone")
	}
}

// post sends JSON.
func post(g *gateway, url, body string, edits ...edit) answer {
	g.t.Helper()
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for _, edit := range edits {
		edit(request)
	}
	response, err := g.client.Do(request)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}
}

// object is the body as JSON.
func (a answer) object(t *testing.T) (object map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &object); err != nil {
		t.Fatalf("got %d %q: %v", a.status, a.body, err)
	}
	return object
}
