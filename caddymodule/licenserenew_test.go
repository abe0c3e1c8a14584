package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// renewed is a site behind a license in storage, with what keeps it current.
const renewed = `{
	WITHADMIN
	gatehouse {
		license {
			trusted_key PUBLIC
			OPTION
		}
		api {
			trust_admin_endpoint
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle /metrics {
		metrics
	}
	@rest not path /metrics
	require_license @rest {
		error_body json
	}
	respond "in"
}
`

// storedLicense starts a gateway whose license may be installed over the admin endpoint.
func storedLicense(t *testing.T, caddyfile, option string, v *vendor, vars ...string) (g *gateway, admin string) {
	t.Helper()
	admin = freeAddress(t)
	all := append([]string{
		"WITHADMIN", strings.Replace(globals, "admin off", "admin "+admin, 1), "PUBLIC", v.public(), "OPTION", option,
	}, vars...)
	g = prepare(t, all...)
	if err := g.load(caddyfile); err != nil {
		t.Fatal(err)
	}
	return g, admin
}

func (g *gateway) install(t *testing.T, admin, text string) {
	t.Helper()
	if got := g.do(g.client, http.MethodPut, "http://"+admin+"/api/orgs/license", content(text)); got.status != http.StatusNoContent {
		t.Fatalf("installing: %d %s", got.status, got.body)
	}
}

// licenseStatus is the license's part of the status.
func (g *gateway) licenseStatus(t *testing.T, admin string) map[string]any {
	t.Helper()
	object := g.do(g.client, http.MethodGet, "http://"+admin+"/api/status").object(t)
	return object["license"].(map[string]any)
}

// revocations signs a list, good for an hour.
func (v *vendor) revocations(version int64, next time.Duration, ids ...string) []byte {
	v.t.Helper()
	signer, err := license.NewSigner(license.SignerConfig{Key: v.key, Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	if err != nil {
		v.t.Fatal(err)
	}
	list, err := signer.SignRevocations(version, time.Now().Add(next), ids)
	if err != nil {
		v.t.Fatal(err)
	}
	text, err := list.Encode()
	if err != nil {
		v.t.Fatal(err)
	}
	return text
}

// vendorServer answers as a test wants it to.
type vendorServer struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request)
	asked  []string
}

func newVendorServer(t *testing.T) *vendorServer {
	t.Helper()
	s := &vendorServer{answer: http.NotFound}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization"))
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *vendorServer) answers(answer func(w http.ResponseWriter, r *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *vendorServer) sends(text []byte) {
	s.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
}

func (s *vendorServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.asked...)
}

// TestRevocationList: a license on the vendor's list is refused with a state of its own,
// also after a restart while the vendor is away; an older list changes nothing.
func TestRevocationList(t *testing.T) {
	v, s := newVendor(t), newVendorServer(t)
	asked := asks("127.0.0.1")
	asked.ID = revokedLicense
	other := asks("127.0.0.1")
	s.sends(v.revocations(7, time.Hour))
	g, admin := storedLicense(t, renewed, "revocation_list "+s.URL+"/revocations.json", v)
	g.install(t, admin, v.sign(0, asked))
	if got := g.get("/"); got.status != http.StatusOK {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	reload := func() { // the source is asked at once
		t.Helper()
		g.stop()
		if err := g.load(renewed); err != nil {
			t.Fatal(err)
		}
	}
	s.sends(v.revocations(8, time.Hour, revokedLicense))
	reload()
	eventually(t, "the license is revoked", func() bool { return g.get("/").status == http.StatusForbidden })
	body := g.get("/").object(t)
	if body["code"] != "license_revoked" || body["message"] != "the license has been revoked" {
		t.Errorf("got %v", body)
	}
	status := g.licenseStatus(t, admin)
	if list := status["revocation_list"].(map[string]any); status["state"] != "revoked" || list["version"] != 8.0 || list["revoked"] != 1.0 || list["late"] != false || list["error"] != "" {
		t.Errorf("got %v", status)
	}
	for name, spoil := range map[string]func(){
		"an older list": func() { s.sends(v.revocations(7, time.Hour)) },
		"another key":   func() { s.sends(newVendor(t).revocations(9, time.Hour)) },
		"no list":       func() { s.sends([]byte("{}")) },
		"down":          s.CloseClientConnections,
		"elsewhere": func() {
			s.answers(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://example.com/", http.StatusFound)
			})
		},
	} {
		spoil()
		reload()
		if got := g.get("/"); got.status != http.StatusForbidden { // the first request already
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
		if name == "down" {
			continue
		}
		eventually(t, name+" is reported", func() bool {
			list := g.licenseStatus(t, admin)["revocation_list"].(map[string]any)
			return list["error"] != "" && list["version"] == 8.0
		})
	}
	g.install(t, admin, v.sign(0, other))
	eventually(t, "another license is in force", func() bool { return g.get("/").status == http.StatusOK })
}

// TestRevocationListIsLate: that is reported, and nothing is refused for it.
func TestRevocationListIsLate(t *testing.T) {
	v, s := newVendor(t), newVendorServer(t)
	s.sends(v.revocations(1, -time.Minute))
	g, admin := storedLicense(t, renewed, "revocation_list "+s.URL, v)
	g.install(t, admin, v.sign(0, asks("127.0.0.1")))
	eventually(t, "the list is late", func() bool {
		m := g.scrape()
		return m["license_revocation_list_late"] == 1 && m["license_revocation_list_next_update_timestamp_seconds"] > 0
	})
	eventually(t, "the log tells", func() bool { return strings.Contains(g.log(), "the list of revoked licenses is late") })
	if got := g.get("/"); got.status != http.StatusOK {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// TestRenewal: a license is renewed in the background, and nothing that the vendor does
// takes away the one in force.
func TestRenewal(t *testing.T) {
	v, s := newVendor(t), newVendorServer(t)
	soon := asks("127.0.0.1")
	const old = 4 * time.Hour
	soon.TTL = old + time.Minute // it ends in a minute, so it is due
	soon.ID = revokedLicense
	longer := soon
	longer.TTL = 100 * time.Hour
	worse := longer
	worse.AllowedHosts = []string{"other.example.com"}
	shorter := soon
	shorter.TTL = 30 * time.Second
	answer := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"license_active":true,"license":%s}`, text)
		}
	}
	option := "renew " + s.URL + " {\n product my-product\n credential key-1 {env.RENEW_SHARED}\n}"
	t.Setenv("RENEW_SHARED", "shared-secret-1")
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		words  string // of the status; empty: it is renewed
		aside  bool
	}{
		"better":  {answer(v.sign(0, longer)), "", false},
		"worse":   {answer(v.sign(0, worse)), "does not cover the host 127.0.0.1", true},
		"earlier": {answer(v.sign(0, shorter)), "it ends on", true},
		"foreign": {answer(newVendor(t).sign(0, longer)), "none of the 1 trusted keys", true},
		"none":    {answer("null"), "no license", false},
		"refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"code":"license_not_active","message":"No\u001b[31m seat"}`))
		}, "license_not_active: No?[31m seat", false},
		"huge":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }, "more than", false},
		"broken":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "cannot be reached", false},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/else", http.StatusFound) }, "status 302", false},
	} {
		t.Run(name, func(t *testing.T) {
			s.answers(c.answer)
			g, admin := storedLicense(t, renewed, option, v)
			g.install(t, admin, v.sign(old, soon))
			status := map[string]any{}
			eventually(t, "the vendor is asked", func() bool {
				status = g.licenseStatus(t, admin)
				renewal := status["renewal"].(map[string]any)
				return renewal["tried_at"] != 0.0
			})
			renewal := status["renewal"].(map[string]any)
			words, _ := renewal["error"].(string)
			if c.words == "" && words != "" || !strings.Contains(words, c.words) || renewal["kept_aside"] != c.aside {
				t.Errorf("got %v, want %q", renewal, c.words)
			}
			if got := g.get("/"); got.status != http.StatusOK {
				t.Errorf("got %d %s: the license in force is gone", got.status, got.body)
			}
			left := time.Until(time.Unix(int64(status["expire_at"].(float64)), 0))
			if (left > time.Hour) != (c.words == "") {
				t.Errorf("the license in force ends in %s", left)
			}
			if (g.scrape()["license_renewal_fault"] == 1) != (c.words != "") {
				t.Error("the metric says something else")
			}
			if strings.Contains(g.log(), "shared-secret-1") {
				t.Error("the log holds the shared key")
			}
			seat := "product=my-product"
			for _, request := range s.requests() {
				if !strings.HasPrefix(request, "GET /api/v4/check_license?hardware_id=") || !strings.Contains(request, seat) || !strings.Contains(request, "license_key="+revokedLicense) || !strings.Contains(request, `apikey="key-1"`) {
					t.Errorf("the vendor was asked %s", request)
				}
			}
		})
	}
}

// TestRenewalErrors are those of a configuration that cannot work.
func TestRenewalErrors(t *testing.T) {
	v := newVendor(t)
	for option, words := range map[string]string{
		"renew http://license.vendor.example {\n product p\n}":                `renew: found "http://license.vendor.example", which is not https`,
		"renew https://license.vendor.example":                                "renew: expected `product NAME`",
		"renew license.vendor.example {\n product p\n}":                       "renew: found",
		"renew https://v.example {\n product p\n token a\n credential b c\n}": "found credential and token",
		"file /x\n renew https://v.example {\n product p\n}":                  "renew: found a license that the configuration holds",
		"revocation_list http://license.vendor.example/list":                  "revocation_list: found",
	} {
		g := prepare(t, "WITHADMIN", globals, "PUBLIC", v.public(), "OPTION", option)
		_, err := g.adapted(renewed)
		if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: got %v, want %q with file and line", option, err, words)
		}
	}
}

// TestInstanceOfADeployment: a license for one deployment is good there, and refused on
// another one.
func TestInstanceOfADeployment(t *testing.T) {
	v := newVendor(t)
	fingerprint := func(g *gateway, admin string) string {
		t.Helper()
		text, _ := g.do(g.client, http.MethodPost, "http://"+admin+"/api/orgs/license/instance").object(t)["fingerprint"].(string)
		return text
	}
	g, admin := storedLicense(t, renewed, "", v)
	asked := asks("127.0.0.1")
	asked.Instance = fingerprint(g, admin)
	if again := fingerprint(g, admin); again != asked.Instance || len(again) != 64 {
		t.Fatalf("%s, and then %s", asked.Instance, again)
	}
	bound := v.sign(0, asked)
	g.install(t, admin, bound)
	if got := g.get("/"); got.status != http.StatusOK {
		t.Errorf("got %d %s", got.status, got.body)
	}
	g.stop()
	if err := g.load(renewed); err != nil { // it is known again before the first answer
		t.Fatal(err)
	}
	if got := g.get("/"); got.status != http.StatusOK {
		t.Errorf("after a restart: %d %s", got.status, got.body)
	}
	g.stop()
	g, admin = storedLicense(t, renewed, "", v) // another storage
	if got := g.do(g.client, http.MethodPut, "http://"+admin+"/api/orgs/license", content(bound)); got.status != http.StatusBadRequest || !strings.Contains(got.body, "another instance") {
		t.Errorf("another deployment takes it: %d %s", got.status, got.body)
	}
}

// usageOf is the signed report of usage.
func usageOf(t *testing.T, text string) (limits map[string]map[string]any) {
	t.Helper()
	var report struct {
		Usage struct {
			Limits map[string]map[string]any `json:"limits"`
		} `json:"usage"`
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	return report.Usage.Limits
}
