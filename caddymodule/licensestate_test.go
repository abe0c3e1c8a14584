package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// licensed is a Caddyfile with a license from a file, on a site whose refusals
// have a JSON body, and one where handle_errors shapes them.
const licensed = `{
	GLOBALS
	servers {
		protocols h1 h2c
	}
	gatehouse {
		service_accounts {
			registration optional
			refresh 50ms
		}
		issuer https://login.example.com {
			name acme
			audience https://gateway.example.com
		}
		license {
			SOURCE
			trusted_key PUBLIC
			MORE
		}
	}
}
http://SITE {
	bind 127.0.0.1
	require_license {
		FEATURE
		error_body json
	}
	respond "{http.license.state} {http.license.type} {http.license.description} {http.license.features} [{http.license.code}]"
}
http://SECOND {
	bind 127.0.0.1
	require_license {
		FEATURE
	}
	respond "in"
	handle_errors {
		respond "{err.status_code} {err.message} {http.license.code} {http.license.state}"
	}
}
`

func (v *vendor) caddyfile(pairs ...string) string {
	pairs = append(pairs, "SOURCE", "file "+v.file(), "PUBLIC", v.public(), "MORE", "", "FEATURE", "")
	return strings.NewReplacer(pairs...).Replace(licensed)
}

// refusesLicense makes sure that a request is refused in each of the forms.
func (g *gateway) refusesLicense(t *testing.T, code, message, state string) {
	t.Helper()
	got := g.get("/")
	if reason := got.header.Get("Gatehouse-Reason"); reason != code {
		t.Errorf("the header gives the reason %q, want %q", reason, code)
	}
	if want := fmt.Sprintf("{\"message\":%q,\"code\":%q}\n", message, code); got.status != 403 || got.body != want {
		t.Errorf("got %d %q, want 403 %q", got.status, got.body, want)
	}
	if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Type") != "application/json" || got.header.Get("WWW-Authenticate") != "" {
		t.Errorf("got the header %v", got.header)
	}
	shaped := g.do(g.client, http.MethodGet, "http://"+g.second+"/")
	if want := fmt.Sprintf("403 %s %s %s", message, code, state); shaped.status != 403 || shaped.body != want {
		t.Errorf("got %d %q, want %q", shaped.status, shaped.body, want)
	}
	grpc := g.do(g.h2c, http.MethodPost, "http://"+g.site+"/", header("Content-Type", "application/grpc+proto"))
	if grpc.status != 200 || grpc.header.Get("Grpc-Status") != "7" || grpc.header.Get("Grpc-Message") != message ||
		grpc.header.Get("Content-Type") != "application/grpc+proto" || grpc.body != "" {
		t.Errorf("got %d %v %q, want grpc-status 7 and %q", grpc.status, grpc.header, grpc.body, message)
	}
}

func TestLicenseStates(t *testing.T) {
	v := newVendor(t)
	day := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	hosts := []string{"127.0.0.1"}
	other := newVendor(t)
	short := asks(hosts...)
	short.TTL, short.Grace = time.Minute, seconds(0)
	honored := short
	honored.Grace = seconds(time.Hour)
	later := asks(hosts...)
	opens := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	begins := opens.Unix()
	later.NotBefore = &begins
	long := asks(hosts...)
	long.TTL = 1000 * time.Hour
	some := long
	some.Features = []string{"sso", "audit"}
	ended := time.Now().Add(-time.Hour)
	g := start(t, v.caddyfile())
	for _, c := range []struct {
		name, license, state  string
		code, message, served string
	}{
		{"missing", "", "missing", "license_missing", "there is no license", ""},
		{"invalid", "{}", "invalid", "license_invalid", "the license is not valid", ""},
		{"unknown key", other.sign(0, long), "invalid", "license_invalid", "the license is not valid", ""},
		{"not yet", v.sign(0, later), "not_yet_valid", "license_not_yet_valid", "the license is not valid before " + day(opens), ""},
		{"other host", v.sign(0, asks("other.example.com")), "expiring", "license_host", "the license does not cover the host of this request", ""},
		{"valid", v.sign(0, long), "valid", "", "", "valid enterprise Acme Corp * []"},
		{"features", v.sign(0, some), "valid", "", "", "valid enterprise Acme Corp audit,sso []"},
		{"expiring", v.sign(0, asks(hosts...)), "expiring", "", "", "expiring enterprise Acme Corp * []"},
		{"grace", v.sign(30*time.Minute, honored), "grace", "", "", "grace enterprise Acme Corp * []"},
		{"expired", v.sign(time.Hour+time.Minute, short), "expired", "license_expired", "the license ended on ", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A new server each time: it never knew a better license.
			g.stop()
			v.write(c.license)
			if c.license == "" {
				v.remove()
			}
			if err := g.load(v.caddyfile()); err != nil {
				t.Fatalf("a license is never a reason not to start: %v", err)
			}
			if c.served != "" {
				if got := g.get("/"); got.status != 200 || got.body != c.served {
					t.Errorf("got %d %q, want %q", got.status, got.body, c.served)
				}
				return
			}
			if c.name == "expired" {
				got := g.get("/")
				at := strings.TrimSuffix(strings.TrimPrefix(got.body, `{"message":"the license ended on `), "\",\"code\":\"license_expired\"}\n")
				when, err := time.Parse(time.RFC3339, at)
				if err != nil || when.Sub(ended).Abs() > 10*time.Second {
					t.Fatalf("got %q, want the end of the license", got.body)
				}
				c.message += at
			}
			g.refusesLicense(t, c.code, c.message, c.state)
			if err := g.load(v.caddyfile("MORE", "warn 10s")); err != nil {
				t.Errorf("a license is never a reason not to reload: %v", err)
			}
			g.refusesLicense(t, c.code, c.message, strings.Replace(c.state, "expiring", "valid", 1))
		})
	}
}

func TestLicenseFeatures(t *testing.T) {
	v := newVendor(t)
	some := asks("127.0.0.1")
	some.Features = []string{"sso", "audit"}
	v.write(v.sign(0, some))
	g := start(t, v.caddyfile("FEATURE", "feature sso audit"))
	if got := g.get("/"); got.status != 200 {
		t.Errorf("got %d %q, want 200: both features are granted", got.status, got.body)
	}
	if err := g.load(v.caddyfile("FEATURE", "feature sso\nfeature reports")); err != nil {
		t.Fatal(err)
	}
	g.refusesLicense(t, "license_feature", "the license does not grant the feature \"reports\"", "expiring")
}

func TestLicenseMissingAllowed(t *testing.T) {
	if apart(t) {
		return
	}
	v := newVendor(t)
	g := start(t, v.caddyfile("MORE", "missing allow", "FEATURE", "feature sso"))
	if got := g.get("/"); got.status != 200 || got.body != "missing    []" {
		t.Errorf("got %d %q, want 200 and empty placeholders", got.status, got.body)
	}
	v.write(v.sign(0, asks("other.example.com")))
	eventually(t, "the license that came later decides", func() bool { return g.get("/").status == 403 })
	g.refusesLicense(t, "license_host", "the license does not cover the host of this request", "expiring")
}

func TestLicenseOnlyReported(t *testing.T) {
	v := newVendor(t)
	v.write(v.sign(0, asks("other.example.com")))
	g := start(t, v.caddyfile("MORE", "enforcement log"))
	for range 5 {
		if got := g.get("/"); got.status != 200 {
			t.Errorf("got %d %q, want 200: nothing is refused", got.status, got.body)
		}
	}
	const line = "would have been refused for the license"
	if n := strings.Count(g.log(), line); n != 1 {
		t.Errorf("got %d lines, want one for the host and the reason", n)
	}
}

// Without error_body and handle_errors a refusal says its reason in a header, and
// the log says once what became of whom. What passes all the same is counted apart.
func TestLicenseRefusalsAreTold(t *testing.T) {
	v := newVendor(t)
	v.write(v.sign(0, asks("other.example.com")))
	plain := strings.NewReplacer("FILE", v.file(), "PUBLIC", v.public()).Replace(`{
		GLOBALS
		gatehouse {
			issuer https://login.example.com {
				name acme
				audience https://gateway.example.com
			}
			license {
				file FILE
				trusted_key PUBLIC
				MORE
			}
		}
	}
	http://SITE {
		bind 127.0.0.1
		handle /metrics {
			metrics
		}
		handle {
			require_license
			respond "in"
		}
	}`)
	for more, c := range map[string]struct {
		remove         bool
		code           string
		denied, waived float64
		line           string
	}{
		"":                {false, "license_host", 3, 0, "requests are refused for the license"},
		"enforcement log": {false, "license_host", 0, 3, "a request would have been refused for the license"},
		"missing allow":   {true, "license_missing", 0, 3, ""},
	} {
		t.Run(more, func(t *testing.T) {
			v.write(v.sign(0, asks("other.example.com")))
			if c.remove {
				v.remove()
			}
			g := start(t, strings.ReplaceAll(plain, "MORE", more))
			before := g.scrape()
			for _, series := range []string{"license_denials_total", "license_waived_total"} {
				if _, born := before[series+`{code="license_feature"}`]; !born {
					t.Errorf("%s is not there before it happens", series)
				}
			}
			for range 3 {
				got := g.get("/")
				if c.denied == 0 && got.status != 200 || c.denied > 0 && (got.status != 403 || got.header.Get("Gatehouse-Reason") != c.code) {
					t.Errorf("got %d %v", got.status, got.header)
				}
			}
			now := g.scrape()
			label := `{code="` + c.code + `"}`
			if denied := now.since(t, before, "license_denials_total"+label); denied != c.denied {
				t.Errorf("%v were counted as refused, want %v", denied, c.denied)
			}
			if waived := now.since(t, before, "license_waived_total"+label); waived != c.waived {
				t.Errorf("%v were counted as let in, want %v", waived, c.waived)
			}
			if now["license_refuses"] != 0 {
				t.Error("the state is said to refuse every request")
			}
			if n := strings.Count(g.log(), c.line); c.line != "" && n != 1 {
				t.Errorf("the log says %d times %q, want once", n, c.line)
			}
		})
	}
}

func TestLicenseFileChanges(t *testing.T) {
	if apart(t) {
		return
	}
	v := newVendor(t)
	g := start(t, v.caddyfile())
	if got := g.get("/"); got.status != 403 {
		t.Errorf("got %d, want 403 without a license", got.status)
	}
	began := time.Now()
	v.write(v.sign(0, asks("127.0.0.1")))
	eventually(t, "the license is in force", func() bool { return g.get("/").status == 200 })
	t.Logf("in force after %s", time.Since(began).Round(10*time.Millisecond))
	v.write("{broken")
	eventually(t, "the broken license is reported", func() bool {
		return strings.Contains(g.log(), "what was found is no license to be believed")
	})
	if got := g.get("/"); got.status != 200 {
		t.Errorf("got %d, want 200: the last good license stays in force", got.status)
	}
	// Nor is it lost by a change of other options.
	if err := g.load(v.caddyfile("MORE", "warn 1m")); err != nil {
		t.Fatal(err)
	}
	if got := g.get("/"); got.status != 200 || !strings.HasPrefix(got.body, "valid") {
		t.Errorf("got %d %q, want 200 and the new limit", got.status, got.body)
	}
}

// The upstream learns the features by a header, as the page for vendors shows it, and no
// client can say others.
func TestTheUpstreamLearnsTheFeatures(t *testing.T) {
	page := read(t, "../docs/license-vendor.md")
	_, block, found := strings.Cut(page, "```caddyfile\n")
	block, _, _ = strings.Cut(block, "```")
	line := "request_header X-License-Features {http.license.features}"
	if !found || !strings.Contains(page, "`"+line+"`") {
		t.Fatal("the page does not show the header")
	}
	v, issuer := newVendor(t), newIssuer(t)
	some := asks("127.0.0.1")
	some.Features = []string{"sso", "audit"}
	v.write(v.sign(0, some))
	const options = "{\n\tGLOBALS\n\tgatehouse {\n\t\tissuer ISSUER {\n\t\t\taudience https://gateway.example.com\n\t\t}\n\t\tlicense {\n\t\t\tfile FILE\n\t\t\ttrusted_key PUBLIC\n\t\t}\n\t}\n}\n"
	const respond = "\trespond \"{http.request.header.X-License-Features} {http.request.header.X_License_Features}\"\n}\n"
	g := start(t, options+"http://SITE {\n\tbind 127.0.0.1\n"+block+respond+"http://SECOND {\n\tbind 127.0.0.1\n\trequire_license\n"+line+"\n\trespond {http.request.header.X-License-Features}\n}\n",
		"ISSUER", issuer.URL, "FILE", v.file(), "PUBLIC", v.public())
	forged := both(header("X-License-Features", "*"), header("X_License_Features", "*"))
	if got := g.get("/", bearer(mint(issuer, claims{"sid": "s"})), forged); got.body != "audit,sso " {
		t.Errorf("behind bearer_auth the upstream learns %d %q", got.status, got.body)
	}
	if got := g.do(g.client, http.MethodGet, "http://"+g.second+"/", header("X-License-Features", "*")); got.body != "audit,sso" {
		t.Errorf("without it, the upstream learns %q", got.body)
	}
}
