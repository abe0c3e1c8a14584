package caddymodule_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// explained is a site behind the license, with the API that explains it.
const explained = `{
	WITHADMIN
	gatehouse {
		issuer https://login.example.com {
			name acme
			audience https://gateway.example.com
		}
		license {
			file FILE
			trusted_key PUBLIC
			revoked_id 11111111-2222-4333-8444-555555555555
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
	@plain not path /metrics /feature
	require_license @plain {
		error_body json
	}
	require_license /feature {
		feature reports
		error_body json
	}
	respond "in"
}
`

const revokedLicense = "11111111-2222-4333-8444-555555555555"

// licenseCodes are those of all reasons there are.
func licenseCodes() (codes []string) {
	for _, reason := range []license.Reason{
		license.ReasonMissing, license.ReasonForm, license.ReasonUnknownKey, license.ReasonRevokedKey, license.ReasonRetiredKey,
		license.ReasonSignature, license.ReasonRevokedID, license.ReasonInstance, license.ReasonNotYetValid, license.ReasonExpired, license.ReasonHost, license.ReasonFeature,
	} {
		codes = append(codes, reason.Code())
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// licenseCase is a license that makes a refusal happen, and how the API explains
// that.
type licenseCase struct {
	license string // empty: none
	path    string // of the route; empty: /
	state   string
}

func licenseCases(v *vendor) map[string]licenseCase {
	short, later, some := asks("127.0.0.1"), asks("127.0.0.1"), asks("127.0.0.1")
	short.TTL, short.Grace = time.Minute, seconds(0)
	opens := time.Now().Add(30 * time.Minute).Unix()
	later.NotBefore = &opens
	some.Features = []string{"sso"}
	revoked, elsewhere := asks("127.0.0.1"), asks("127.0.0.1")
	revoked.ID, elsewhere.Instance = revokedLicense, strings.Repeat("5", 64)
	return map[string]licenseCase{
		"license_missing":       {state: "missing"},
		"license_invalid":       {license: "{}", state: "invalid"},
		"license_revoked":       {license: v.sign(0, revoked), state: "revoked"},
		"license_instance":      {license: v.sign(0, elsewhere), state: "invalid"},
		"license_not_yet_valid": {license: v.sign(0, later), state: "not_yet_valid"},
		"license_expired":       {license: v.sign(time.Hour, short), state: "expired"},
		"license_host":          {license: v.sign(0, asks("other.example.com")), state: "expiring"},
		"license_feature":       {license: v.sign(0, some), path: "/feature", state: "expiring"},
	}
}

// What a refusal for the license is called must be the same wherever it shows: in
// the answer, the metric, the log, the API's status and the page.
func TestLicenseRefusalsAgreeEverywhere(t *testing.T) {
	v, admin := newVendor(t), freeAddress(t)
	g := prepare(t, "WITHADMIN", strings.Replace(globals, "admin off", "admin "+admin, 1), "FILE", v.file(), "PUBLIC", v.public())
	cases, rows := licenseCases(v), troubleshooting(t)
	for _, code := range licenseCodes() {
		c, ok := cases[code]
		if !ok {
			t.Errorf("no case makes %s happen", code)
			continue
		}
		t.Run(code, func(t *testing.T) {
			g.stop() // the next server never knew a better license
			v.write(c.license)
			if c.license == "" {
				v.remove()
			}
			if err := g.load(explained); err != nil {
				t.Fatal(err)
			}
			message := g.refusesFor(t, code, c.path)
			if before, _, _ := strings.Cut(rows[code], "…"); before == "" || !strings.HasPrefix(message, before) || rows[code] == before && message != before {
				t.Errorf("the page says %q of %s, and the answer %q", rows[code], code, message)
			}
			g.explainsLicense(t, admin, c, code, message)
		})
	}
}

// refusesFor makes sure that a refusal has its code in the answer, the metric and
// the log, and gives its message.
func (g *gateway) refusesFor(t *testing.T, code, path string) string {
	t.Helper()
	before, lines := g.scrape(), len(g.logged("request refused"))
	got := g.get("/" + strings.TrimPrefix(path, "/"))
	body := got.object(t)
	if got.status != http.StatusForbidden || body["code"] != code {
		t.Errorf("got %d %v, want 403 with the code", got.status, body)
	}
	if n := g.scrape()[licenseDenials(code)] - before[licenseDenials(code)]; n != 1 {
		t.Errorf("the metric counted %v, want 1", n)
	}
	logged := g.logged("request refused")
	if len(logged) != lines+1 || logged[lines]["code"] != code || logged[lines]["level"] != "debug" || logged[lines]["error"] == nil {
		t.Errorf("the log says %v, want one line with the code", logged[lines:])
	}
	message, _ := body["message"].(string)
	return message
}

func licenseDenials(code string) string { return `license_denials_total{code="` + code + `"}` }

// explainsLicense holds the API's status against the refusal: the state has the
// code's name, unless a license that is in force does not cover this request.
func (g *gateway) explainsLicense(t *testing.T, admin string, c licenseCase, code, message string) {
	t.Helper()
	status := g.do(g.client, http.MethodGet, "http://"+admin+"/api/orgs/license?host=127.0.0.1").object(t)
	words, _ := status["verify_error"].(string)
	if status["state"] != c.state {
		t.Errorf("the state is %v, want %s", status["state"], c.state)
	}
	switch code {
	case "license_feature":
		if features, _ := status["features"].([]any); len(features) != 1 || features[0] != "sso" || words != "" {
			t.Errorf("the status is %v, want the features that are granted", status)
		}
	case "license_missing", "license_invalid": // the operator sees more
		if words == "" || code != "license_"+c.state {
			t.Errorf("the status is %v", status)
		}
	case "license_instance", "license_revoked":
		if !strings.HasPrefix(words, "payload.") || code == "license_revoked" && c.state != "revoked" {
			t.Errorf("the status is %v", status)
		}
	case "license_host":
		if words != message {
			t.Errorf("the status says %q, and the answer %q", words, message)
		}
	default:
		if words != message || code != "license_"+c.state {
			t.Errorf("the status says %s and %q, and the answer %s and %q", c.state, words, code, message)
		}
	}
}
