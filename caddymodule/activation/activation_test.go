package activation

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// A login brings a license; a check renews it; a deactivation gives the seat back.
func TestLifeOfASeat(t *testing.T) {
	n := newSite(t).start()
	first := granted(t, n.post(Activate, n.wish("one")))
	p := first.License.Payload
	if p.ID != first.ID || first.LicenseKey != first.ID || p.Version() != 2 || n.validity(first.License).Check("gw.acme.example") != nil {
		t.Errorf("got %+v", first.License)
	}
	if p.Grace == nil || *p.Grace != int64(DefaultGrace/time.Second) || len(p.Features) != 2 || p.Type != license.Enterprise ||
		p.ExpireAt < n.clock.now().Add(DefaultValid-time.Minute).Unix() {
		t.Errorf("got the payload %+v", p)
	}
	if first.MaxActivations != 3 || first.TimesActivated != 1 || first.Customer.Email != "" || first.Customer.Reference != "acme" {
		t.Errorf("got %+v", first)
	}
	again := granted(t, n.post(Activate, n.wish("one")))
	if again.ID != first.ID || again.Start != first.Start || n.taken() != 1 {
		t.Errorf("the same instance again: %s after %s, %d seats", again.ID, first.ID, n.taken())
	}
	if checked := granted(t, n.check(first.ID, "one")); checked.License.Payload.ExpireAt != again.License.Payload.ExpireAt {
		t.Error("a check at once is written")
	}
	n.clock.advance(24 * time.Hour)
	if checked := granted(t, n.check(first.ID, "one")); checked.License.Payload.ExpireAt < p.ExpireAt+23*3600 || checked.ID != first.ID {
		t.Error("a check a day later renews nothing")
	}
	refused(t, n.deactivate(first.ID, "another"), sso.CodeDeviceNotFound)
	if answer := n.deactivate(first.ID, "one"); answer.Refusal != nil || !strings.Contains(string(answer.Body), "license_deactivated") || n.taken() != 0 {
		t.Errorf("got %s, %d seats", answer.Body, n.taken())
	}
	refused(t, n.deactivate(first.ID, "one"), sso.CodeLicenseNotFound)
	refused(t, n.check(first.ID, "one"), sso.CodeLicenseNotFound)
	for _, o := range n.seen {
		if o.Seat != nil && o.Seat.Account != "acme" {
			t.Errorf("observed %+v", o)
		}
	}
}

// A seat that is not heard of in time is free by itself, and that is reported.
func TestSilentInstance(t *testing.T) {
	n := newSite(t).start()
	first := granted(t, n.post(Activate, n.wish("one")))
	n.clock.advance(DefaultValid + time.Hour) // in its grace
	granted(t, n.check(first.ID, "one"))
	n.clock.advance(DefaultValid + DefaultGrace - time.Hour)
	if n.taken() != 1 {
		t.Error("the seat is free before its time")
	}
	n.clock.advance(2 * time.Hour)
	if n.taken() != 0 {
		t.Error("the seat is still taken")
	}
	if code := n.check(first.ID, "one").Result(); code != string(sso.CodeLicenseNotActive) && code != string(sso.CodeLicenseNotFound) {
		t.Errorf("got %s", code)
	}
	eventually(t, "it is reported", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, e := range n.events {
			for _, c := range e.Changes {
				if e.Kind == "expired" && c.Record().ID.String() == first.ID {
					return true
				}
			}
		}
		return false
	})
	if back := granted(t, n.post(Activate, n.wish("one"))); back.ID == first.ID {
		t.Error("it has the old id")
	}
}

// A key that the provider replaced under its old id costs one refusal, then it is known.
func TestReplacedKey(t *testing.T) {
	n := newSite(t).start()
	granted(t, n.post(Activate, n.wish("one")))
	n.provider.ReplaceKeyUnderSameID()
	wish := n.wish("two")
	refused(t, n.post(Activate, wish), sso.CodeInvalidIDToken)
	eventually(t, "the new key is known", func() bool { return n.post(Activate, wish).Refusal == nil })
}

// A code is exchanged at the provider, with the secret and with PKCE.
func TestCode(t *testing.T) {
	n := newSite(t).start()
	for name, c := range map[string]struct{ challenge, verifier, redirect, used string }{
		"first redirect": {"", "", testBack, ""},
		"loopback":       {"", "", "http://127.0.0.1:49152/callback", "http://127.0.0.1:49152/callback"},
		"with PKCE":      {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", testBack, testBack},
	} {
		t.Run(name, func(t *testing.T) {
			more := []string{"response_type", "code", "redirect_uri", c.redirect}
			if c.challenge != "" {
				more = append(more, "code_challenge", c.challenge, "code_challenge_method", "S256")
			}
			wish := map[string]any{
				"product": "app", "hardware_id": name, "customer_account_code": "acme", "code": n.logIn(n.begin("app", "acme", more...)),
			}
			if c.used != "" {
				wish["redirect_uri"] = c.used
			}
			if c.verifier != "" {
				wish["code_verifier"] = c.verifier
			}
			granted(t, n.post(Activate, wish))
			refused(t, n.post(Activate, wish), sso.CodeInvalidCode)
		})
	}
	query := n.begin("app", "acme", "response_type", "code", "code_challenge", strings.Repeat("x", 43), "code_challenge_method", "S256")
	refused(t, n.post(Activate, map[string]any{
		"product": "app", "hardware_id": "x", "customer_account_code": "acme", "code": n.logIn(query), "code_verifier": strings.Repeat("y", 43),
	}), sso.CodeInvalidCode)
	if err := n.provider.Stop(); err != nil {
		t.Fatal(err)
	}
	refused(t, n.post(Activate, map[string]any{"product": "app", "hardware_id": "x", "customer_account_code": "acme", "code": "x"}), sso.CodeTemporarilyUnavailable)
}

// logIn sends the form of the login page, and gives the code that it leads back with.
func (n *node) logIn(query url.Values) string {
	n.t.Helper()
	form := strings.NewReader(url.Values{"username": {"someone"}, "password": {"pass word"}}.Encode())
	request, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.provider.LoginURL()+"?"+query.Encode(), form)
	if err != nil {
		n.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		n.t.Fatal(err)
	}
	defer answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		n.t.Fatal(answer.Status, err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return back.Query().Get("code")
}

// What an account's terms say is what its licenses say.
func TestTerms(t *testing.T) {
	s := newSite(t)
	s.key = responseKey()
	until := time.Now().Add(10 * 24 * time.Hour).Truncate(time.Second)
	s.terms = map[string]Terms{
		"bound":     {Hosts: []string{"a.example"}, BindInstance: true},
		"requested": {Hosts: []string{"*.acme.example", "10.0.0.1"}, Requested: true},
		"contract":  {Hosts: []string{"a.example"}, Until: until},
		"trial":     {Hosts: []string{"a.example"}, Trial: 14 * 24 * time.Hour},
		"old":       {Hosts: []string{"a.example"}, Version: 1, Description: "Acme: prod", Features: []string{"b", "a"}},
		"limits":    {Hosts: []string{"a.example"}, Limits: map[string]int64{"users": 5}, Enforcement: map[string]license.Enforcement{"users": license.Deny}},
		"own":       {Hosts: []string{"a.example"}, Seats: 4, SeatsPerUser: 1},
	}
	n := s.start()
	ask := func(account, hardwareID string, more ...any) sso.Response {
		wish := map[string]any{"product": "app", "hardware_id": hardwareID, "customer_account_code": account, "id_token": n.token("app", account)}
		for i := 0; i < len(more); i += 2 {
			wish[more[i].(string)] = more[i+1]
		}
		return n.post(Activate, wish)
	}
	bound := granted(t, ask("bound", instance)).License
	if n.validity(bound, instance).Check("a.example") != nil {
		t.Errorf("refused on its own instance: %+v", bound.Payload)
	}
	for _, other := range []string{"", strings.Repeat("2", 64)} {
		if err := n.validity(bound, other).Check("a.example"); err == nil || !strings.Contains(err.Error(), "another instance") {
			t.Errorf("on another instance: got %v", err)
		}
	}
	refused(t, ask("bound", "not a fingerprint"), sso.CodeValidation)

	hosts := granted(t, ask("requested", "x", "hosts", []string{"b.acme.example", "*.c.acme.example", "10.0.0.1"})).License.Payload.AllowedHosts
	if strings.Join(hosts, " ") != "b.acme.example *.c.acme.example 10.0.0.1" {
		t.Errorf("got %q", hosts)
	}
	refused(t, ask("requested", "x"), sso.CodeMissingParameters)
	for _, host := range []string{"acme.example", "*", "b.example", "10.0.0.2", "evilacme.example", "*.example"} {
		refused(t, ask("requested", "x", "hosts", []string{"b.acme.example", host}), sso.CodeHostsNotAllowed)
	}
	for _, host := range []string{"", "a b", "https://b.acme.example", "b.acme.example:1", "*.com"} {
		refused(t, ask("requested", "x", "hosts", []string{host}), sso.CodeValidation)
	}

	contract := granted(t, ask("contract", "x"))
	if contract.License.Payload.ExpireAt != until.Unix() || contract.Maintenance != date(until.Unix()) {
		t.Errorf("beyond the contract: %+v", contract.License.Payload)
	}
	trial := granted(t, ask("trial", "x"))
	if !trial.Trial || trial.License.Payload.ExpireAt > n.clock.now().Add(14*24*time.Hour).Unix() {
		t.Errorf("beyond the trial: %+v", trial)
	}
	old := granted(t, ask("old", "x")).License
	if old.Payload.Version() != 1 || n.validity(old).Check("a.example") != nil {
		t.Errorf("got %+v", old)
	}
	if limits := granted(t, ask("limits", "x")).License.Payload; limits.Limits["users"] != 5 || limits.Enforcement["users"] != license.Deny {
		t.Errorf("got %+v", limits)
	}
	granted(t, ask("own", "x"))
	granted(t, ask("own", "x"))
	refused(t, ask("own", "y"), sso.CodeActivatedMaxTimes)

	n.clock.advance(10*24*time.Hour + time.Minute)
	refused(t, ask("contract", "x"), sso.CodeLicenseExpired)
	refused(t, n.check(contract.ID, "x"), sso.CodeLicenseExpired)
	n.clock.advance(4 * 24 * time.Hour)
	refused(t, ask("trial", "another"), sso.CodeTrialExpired)
	refused(t, n.check(trial.ID, "x"), sso.CodeTrialExpired)
}

// What no license could be signed for is an error when the service is made.
func TestBadTerms(t *testing.T) {
	s := newSite(t)
	n := s.start()
	good := func() Terms { return Terms{Hosts: []string{"a.example"}} }
	for want, edit := range map[string]func(*Terms){
		"hosts: found 0":             func(t *Terms) { t.Hosts = nil },
		`host pattern "*.com"`:       func(t *Terms) { t.Hosts = []string{"*.com"} },
		"type":                       func(t *Terms) { t.Type = "pro" },
		"version: found 3":           func(t *Terms) { t.Version = 3 },
		"version 1 is signed by RSA": func(t *Terms) { t.Version = 1 },
		"bind":                       func(t *Terms) { t.Version, t.BindInstance = 1, true },
		"grace":                      func(t *Terms) { t.Version, t.Grace = 1, time.Hour },
		"seats":                      func(t *Terms) { t.Seats = -1 },
		"seats_per_user":             func(t *Terms) { t.Seats, t.SeatsPerUser = 1, 2 },
		"valid":                      func(t *Terms) { t.Valid = time.Second },
		"trial":                      func(t *Terms) { t.Trial = time.Second },
		"claim":                      func(t *Terms) { t.Claim = "groups" },
		"features[0]":                func(t *Terms) { t.Features = []string{"No Feature"} },
		"enforcement":                func(t *Terms) { t.Enforcement = map[string]license.Enforcement{"users": license.Deny} },
		"limits":                     func(t *Terms) { t.Limits = map[string]int64{"a b": 1} },
		"description":                func(t *Terms) { t.Description = "x" },
	} {
		terms := good()
		edit(&terms)
		signer, err := license.NewSigner(license.SignerConfig{Key: s.key})
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(Config{SSO: n.sso, Terms: map[string]Terms{"acme": terms}, Signer: signer, Store: n.store})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `account "acme"`) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A response file is good for its request only, and each request is answered once.
func TestOffline(t *testing.T) {
	s := newSite(t)
	n := s.start()
	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(op Operation, r license.OfflineRequest, login map[string]any, edit func(map[string]any)) sso.Response {
		t.Helper()
		file, err := license.SignOfflineRequest(key, r)
		if err != nil {
			t.Fatal(err)
		}
		var outer map[string]any
		if err := json.Unmarshal(file, &outer); err != nil {
			t.Fatal(err)
		}
		for name, value := range login {
			outer[name] = value
		}
		if edit != nil {
			edit(outer)
		}
		return n.post(op, outer)
	}
	request := func(id string) license.OfflineRequest {
		return license.OfflineRequest{
			Type: license.OfflineActivation, RequestID: id, Product: "app", Account: "acme", Date: n.clock.now().UTC().Format(time.RFC3339),
		}
	}
	login := func() map[string]any { return map[string]any{"id_token": n.token("app", "acme")} }
	const first, second, third = "8f0dbb8e-6d0e-4b40-a4f5-65df3f4ad001", "8f0dbb8e-6d0e-4b40-a4f5-65df3f4ad002", "8f0dbb8e-6d0e-4b40-a4f5-65df3f4ad003"
	answer := ask(ActivateOffline, request(first), login(), nil)
	keys, err := license.NewKeySet(license.TrustedKey{Key: s.key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Refusal != nil {
		t.Fatalf("got %s", answer.Body)
	}
	opened, err := keys.OpenOfflineResponse(answer.Body, first)
	if err != nil || n.validity(opened.License).Check("gw.acme.example") != nil || opened.License.Payload.ID != opened.LicenseKey {
		t.Fatalf("got %v, %s", err, answer.Body)
	}
	if _, err := keys.OpenOfflineResponse(answer.Body, second); err == nil {
		t.Error("it is taken for another request")
	}
	if _, err := keys.OpenOfflineResponse([]byte(strings.Replace(string(answer.Body), `"type":"activation"`, `"type":"deactivation"`, 1)), first); err == nil {
		t.Error("a changed response is taken")
	}
	refused(t, ask(ActivateOffline, request(first), login(), nil), sso.CodeOfflineRequestUsed)
	spend := func(edit func(map[string]any)) sso.Response {
		return ask(ActivateOffline, request(second), login(), edit)
	}
	inner := func(name string, value any) func(map[string]any) {
		return func(outer map[string]any) { outer["request"].(map[string]any)[name] = value }
	}
	refused(t, spend(inner("product", "other")), sso.CodeInvalidOfflineRequest)
	refused(t, spend(inner("hardware_id", instance)), sso.CodeInvalidOfflineRequest)
	refused(t, spend(func(o map[string]any) { o["signature"] = "AAAA" }), sso.CodeInvalidOfflineRequest)
	refused(t, spend(func(o map[string]any) { o["public_key"] = "AAAA" }), sso.CodeInvalidOfflineRequest)
	refused(t, spend(func(o map[string]any) { o["more"] = 1 }), sso.CodeInvalidOfflineRequest)
	refused(t, spend(func(o map[string]any) { delete(o, "id_token") }), sso.CodeMissingParameters)
	refused(t, spend(func(o map[string]any) { o["code"] = "x" }), sso.CodeValidation)
	refused(t, ask(DeactivateOffline, request(second), nil, nil), sso.CodeInvalidOfflineRequest)
	for _, edit := range []func(*license.OfflineRequest){
		func(r *license.OfflineRequest) { r.RequestID = "1" },
		func(r *license.OfflineRequest) { r.Date = "yesterday" },
		func(r *license.OfflineRequest) {
			r.Date = n.clock.now().Add(-offlineTime - time.Minute).Format(time.RFC3339)
		},
		func(r *license.OfflineRequest) {
			r.Date = n.clock.now().Add(offlineAhead + time.Minute).Format(time.RFC3339)
		},
	} {
		r := request(second)
		edit(&r)
		refused(t, ask(ActivateOffline, r, login(), nil), sso.CodeInvalidOfflineRequest)
	}
	for body, code := range map[string]sso.Code{"": sso.CodeMissingContent, " \n": sso.CodeMissingContent, "%%%": sso.CodeInvalidJSON, "{}": sso.CodeInvalidOfflineRequest, "e30=": sso.CodeInvalidOfflineRequest} {
		refused(t, n.post(ActivateOffline, []byte(body)), code)
	}
	gone := license.OfflineRequest{Type: license.OfflineDeactivation, RequestID: third, Product: "app", LicenseKey: opened.LicenseKey, Date: n.clock.now().UTC().Format(time.RFC3339)}
	answer = ask(DeactivateOffline, gone, nil, nil)
	if _, err := keys.OpenOfflineResponse(answer.Body, third); err != nil || n.taken() != 0 {
		t.Errorf("got %v, %s, %d seats", err, answer.Body, n.taken())
	}
	refused(t, ask(DeactivateOffline, gone, nil, nil), sso.CodeLicenseNotFound)
}
