package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/command"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// activationGateway is a vendor's gateway.
type activationGateway struct {
	*ssoGateway
	vendor     *vendor
	file, more string // its Caddyfile, and the account in it
}

const activationMore = `
			account licensed {
				issuer ISSUER
				client_id license-users
				redirect_uri https://app.example.com/sso
				license {
					hosts gw.acme.example *.acme.example
					seats 2
					claim groups license-users
				}
			}`

func startActivation(t *testing.T) *activationGateway {
	t.Helper()
	v := newVendor(t)
	s := prepareSSO(t)
	more := strings.ReplaceAll(activationMore, "ISSUER", s.provider.URL)
	s.vars = append([]string{"SSOMORE", more, "APPMORE", "signing {\n key " + v.private() + "\n}"}, s.vars...)
	listening := "{\n\tevents {\n\t\ton activation_created test_listener\n\t\ton activation_deleted test_listener\n\t}\n"
	file := listening + strings.TrimPrefix(ssoFile, "{")
	if err := s.load(file); err != nil {
		t.Fatalf("loading the configuration: %v", err)
	}
	return &activationGateway{s, v, file, more}
}

var licensee = idp.Person{Subject: "person-1", Groups: []string{"license-users"}}

// login gives the ID token of somebody who logged in where sso_url leads.
func login(t *testing.T, provider *idp.Issuer, address *url.URL) string {
	t.Helper()
	return secret(provider.IDToken(licensee, idp.Login{ClientID: "license-users", Nonce: address.Query().Get("nonce")}))
}

const licensedAsk = "product=my-product&customer_account_code=licensed"

func (a *activationGateway) token(t *testing.T) string {
	return login(t, a.provider, wantURL(t, a.get("/api/v4/sso_url?"+licensedAsk, signed())))
}

// sending gives a request a body of JSON.
func sending(document any) edit {
	data, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		r.Header.Set("Content-Type", "application/json")
	}
}

func activationOf(token, hardwareID string) map[string]any {
	return map[string]any{"product": "my-product", "customer_account_code": "licensed", "hardware_id": hardwareID, "id_token": token}
}

// granted is what is read of an answer.
type granted struct {
	ID      string          `json:"id"`
	License license.License `json:"license"`
}

func wantLicense(t *testing.T, got answer) granted {
	t.Helper()
	var g granted
	if err := json.Unmarshal([]byte(got.body), &g); err != nil || got.status != http.StatusOK {
		t.Fatalf("got %d %q, %v", got.status, got.body, err)
	}
	return g
}

// Over HTTP, in each place, from the login to the seat that is given back; what is reported
// of it; and the license is one that the command verifies.
func TestActivation(t *testing.T) {
	if apart(t) {
		return
	}
	a := startActivation(t)
	for place, at := range a.places() {
		base := strings.TrimSuffix(strings.TrimSuffix(at, "/"), "sso_url")
		slash := at[len(strings.TrimSuffix(at, "/")):]
		t.Run(place, func(t *testing.T) {
			g := wantLicense(t, a.do(a.client, http.MethodPost, base+"activate_license"+slash, signed(), sending(activationOf(a.token(t), place))))
			query := "?" + url.Values{"product": {"my-product"}, "hardware_id": {place}, "license_key": {g.ID}}.Encode()
			again := wantLicense(t, a.do(a.client, http.MethodGet, base+"check_license"+slash+query, signed()))
			if again.ID != g.ID {
				t.Errorf("got %s, want %s", again.ID, g.ID)
			}
			for _, path := range []string{"activate_license", "deactivate_license", "activate_offline", "deactivate_offline"} {
				wantCode(t, a.do(a.client, http.MethodGet, base+path+slash), sso.CodeMethodNotAllowed)
				wantCode(t, a.do(a.client, http.MethodPost, base+path+slash), sso.CodeMissingHeaders)
			}
			wantCode(t, a.do(a.client, http.MethodPost, base+"activate_license"+slash, signed(), sending(strings.Repeat("x", 70<<10))), sso.CodeValidation)
			seat := map[string]any{"product": "my-product", "hardware_id": place, "license_key": g.ID}
			got := a.do(a.client, http.MethodPost, base+"deactivate_license"+slash, signed(), sending(seat))
			if got.status != http.StatusOK || !strings.Contains(got.body, `"license_active":false`) {
				t.Errorf("got %d %q", got.status, got.body)
			}
		})
	}
	t.Run("administration", a.administration)
	t.Run("reload", a.reloaded)
	t.Run("the command verifies it", a.verified)
	for event, want := range map[string]int{"activation_created": 10, "activation_deleted": 8} {
		if found := hears(event, "account", "licensed"); len(found) != want || found[0]["subject"] != licensee.Subject || found[0]["hardware_id"] == nil {
			t.Errorf("%s: %d events, want %d: %v", event, len(found), want, found)
		}
	}
	shown := a.do(a.client, http.MethodGet, "http://"+a.admin+"/metrics").body
	for _, series := range []string{
		`caddy_gatehouse_seats{account="licensed"} 2`,
		`caddy_gatehouse_activations_total{operation="activate",result="license_activated_max_times"} 1`,
		`caddy_gatehouse_activations_total{operation="deactivate",result="ok"} 6`,
		`caddy_gatehouse_licenses_signed_total{type="enterprise"} 16`,
		`caddy_gatehouse_activations_total{operation="activate_offline",result="missing_headers"} 6`,
	} {
		if !strings.Contains(shown, series+"\n") {
			t.Errorf("the metrics lack %s", series)
		}
	}
}

func (a *activationGateway) administration(t *testing.T) {
	admin := bearer(mint(a.provider, claims{"groups": []string{"admin"}}))
	first := wantLicense(t, a.do(a.client, http.MethodPost, "http://"+a.site+"/api/v4/activate_license", admin, sending(activationOf(a.token(t), "one"))))
	wantLicense(t, a.do(a.client, http.MethodPost, "http://"+a.site+"/api/v4/activate_license", admin, sending(activationOf(a.token(t), "two"))))
	full := a.do(a.client, http.MethodPost, "http://"+a.site+"/api/v4/activate_license", admin, sending(activationOf(a.token(t), "three")))
	wantCode(t, full, sso.CodeActivatedMaxTimes)
	list := func(query string) (found []struct {
		ID         string `json:"id"`
		HardwareID string `json:"hardware_id"`
		Subject    string `json:"subject"`
	}) {
		got := a.get("/api/activations"+query, admin)
		if err := json.Unmarshal([]byte(got.body), &found); err != nil || got.status != http.StatusOK {
			t.Fatalf("got %d %q", got.status, got.body)
		}
		return found
	}
	if found := list("?account=licensed&product=my-product"); len(found) != 2 || found[0].HardwareID != "one" || found[0].Subject != licensee.Subject {
		t.Errorf("got %+v", found)
	}
	if found := list("?limit=1&after=" + first.ID); len(found) != 1 || found[0].HardwareID != "two" {
		t.Errorf("got %+v", found)
	}
	if got := a.get("/api/activations", bearer(mint(a.provider, nil))); got.status != http.StatusForbidden {
		t.Errorf("got %d", got.status)
	}
	for path, want := range map[string]int{first.ID: 204, "x": 404} {
		if got := a.do(a.client, http.MethodDelete, "http://"+a.site+"/api/activations/"+path, admin); got.status != want {
			t.Errorf("got %d %q, want %d", got.status, got.body, want)
		}
	}
	wantLicense(t, a.do(a.client, http.MethodPost, "http://"+a.site+"/api/v4/activate_license", admin, sending(activationOf(a.token(t), "three"))))
	if got := a.get("/api/status", admin).body; !strings.Contains(got, `"seats":{"storage":"ready","taken":[{"account":"licensed","product":"my-product","taken":2,"seats":2}]}`) {
		t.Errorf("the status is %s", got)
	}
	for _, action := range []string{"activation.create", "activation.delete"} {
		if lines := a.logged(action); len(lines) < 2 || lines[0]["actor"] != "licensed/"+licensee.Subject {
			t.Errorf("%s: got %v", action, lines)
		}
	}
}

// reloaded: what cannot be signed does not load, and takes nothing away; what does knows
// the seats.
func (a *activationGateway) reloaded(t *testing.T) {
	admin := bearer(mint(a.provider, claims{"groups": []string{"admin"}}))
	before := a.get("/api/activations", admin).body
	for want, line := range map[string]string{
		"version 1 is signed by RSA keys only": "seats 2\nversion 1",
		"valid: is 20000h":                     "seats 2\nvalid 20000h",
	} {
		err := a.load(strings.Replace(a.file, "SSOMORE", strings.Replace(a.more, "seats 2", line, 1), 1))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `account "licensed"`) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if after := a.get("/api/activations", admin).body; after != before {
		t.Errorf("after a load that failed: %s, want %s", after, before)
	}
	if err := a.load(strings.Replace(a.file, "SSOMORE", strings.Replace(a.more, "seats 2", "seats 2\nvalid 40d", 1), 1)); err != nil {
		t.Fatal(err)
	}
	if after := a.get("/api/activations", admin).body; after != before {
		t.Errorf("after a reload: %s, want %s", after, before)
	}
}

func (a *activationGateway) verified(t *testing.T) {
	admin := bearer(mint(a.provider, claims{"groups": []string{"admin"}}))
	a.do(a.client, http.MethodDelete, "http://"+a.site+"/api/activations/"+a.first(t, admin), admin)
	g := wantLicense(t, a.do(a.client, http.MethodPost, "http://"+a.site+"/api/v4/activate_license", admin, sending(activationOf(a.token(t), "four"))))
	text, err := g.License.Encode()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(a.dir, "license.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := command.Command()
	root := &cobra.Command{Use: c.Name}
	c.CobraFunc(root)
	var output bytes.Buffer
	root.SetOut(&output)
	root.SetErr(&output)
	root.SetArgs([]string{"verify", "--trusted-key", a.vendor.public(), "--host", "b.acme.example", file})
	if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(output.String(), "valid") {
		t.Errorf("%s\n%v", output.String(), err)
	}
}

func (a *activationGateway) first(t *testing.T, admin edit) string {
	var found []struct {
		ID string `json:"id"`
	}
	if got := a.get("/api/activations?limit=1", admin); json.Unmarshal([]byte(got.body), &found) != nil || len(found) != 1 {
		t.Fatalf("got %q", got.body)
	}
	return found[0].ID
}

const activationNode = `{
	admin off
	persist_config off
	auto_https off
	storage file_system DIR/storage
	log {
		output file LOG
	}
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		service_accounts {
			refresh REFRESH
		}
		signing {
			key KEY
		}
		sso {
			credential api-key ` + ssoShared + `
			product my-product
			account licensed {
				issuer ISSUER
				client_id license-users
				redirect_uri https://app.example.com/sso
				license {
					hosts gw.acme.example
					seats 20
				}
			}
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

// Nodes that are killed while instances activate: what was acknowledged is there when
// the next one starts, no seat is given twice, and no used login counts again.
func TestKilledInTheMidstOfActivations(t *testing.T) {
	v, issuer, dir := newVendor(t), newIssuer(t, ssoApplication), t.TempDir()
	caddyfile := strings.ReplaceAll(activationNode, "KEY", v.private())
	var wishes []map[string]any
	acknowledged := map[string]string{} // by hardware id, the id
	for round := range 3 {
		n := startNodeOf(t, dir, issuer, caddyfile)
		begun := func(hardwareID string) map[string]any {
			got, err := try(n.client, http.MethodGet, n.url+"/api/v4/sso_url?"+licensedAsk, signed())
			if err != nil {
				t.Fatal(err)
			}
			return activationOf(login(t, issuer, wantURL(t, got)), hardwareID)
		}
		for _, used := range wishes {
			if acknowledged[used["hardware_id"].(string)] == "" {
				continue
			}
			got, err := try(n.client, http.MethodPost, n.url+"/api/v4/activate_license", signed(), sending(used))
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, got, sso.CodeIDTokenUsed)
		}
		wishes = nil
		for i := range 12 {
			wishes = append(wishes, begun(fmt.Sprintf("instance %d of round %d", i, round)))
		}
		var mu sync.Mutex
		var activating sync.WaitGroup
		var count atomic.Int32
		for _, wish := range wishes {
			activating.Go(func() {
				got, err := tryOnce(n.client, http.MethodPost, n.url+"/api/v4/activate_license", []edit{signed(), sending(wish)})
				if err != nil || got.status != http.StatusOK {
					return
				}
				mu.Lock()
				acknowledged[wish["hardware_id"].(string)] = wantLicense(t, got).ID
				mu.Unlock()
				if count.Add(1) == int32(1+3*round) {
					n.kill()
				}
			})
		}
		activating.Wait()
		if !n.killed {
			n.kill()
		}
	}
	n := startNodeOf(t, dir, issuer, caddyfile)
	admin := bearer(issuer.Mint(claims{"aud": "https://gateway.example.com", "groups": []string{"admin"}}))
	got, err := try(n.client, http.MethodGet, n.url+"/api/activations", admin)
	if err != nil {
		t.Fatal(err)
	}
	var known []struct {
		ID         string `json:"id"`
		HardwareID string `json:"hardware_id"`
	}
	if err := json.Unmarshal([]byte(got.body), &known); err != nil {
		t.Fatalf("got %d %q", got.status, got.body)
	}
	ids := map[string]string{}
	for _, one := range known {
		if ids[one.HardwareID] != "" {
			t.Errorf("%s has two seats", one.HardwareID)
		}
		ids[one.HardwareID] = one.ID
	}
	for hardwareID, id := range acknowledged {
		if ids[hardwareID] != id {
			t.Errorf("%s was acknowledged and is not there", hardwareID)
		}
	}
	if len(known) > 20 || len(acknowledged) == 0 {
		t.Errorf("%d seats of 20, %d acknowledged", len(known), len(acknowledged))
	}
}
