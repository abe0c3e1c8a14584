package caddymodule_test

import (
	"bufio"
	"encoding/json"
	"go/version"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// What is deployed must speak of metrics that there are, and of options that
// there are.
func TestDashboardAndAlertsKnowTheMetrics(t *testing.T) {
	g, _, _ := observe(t, unique("deployed"))
	exposed := g.get("/metrics").body
	page := read(t, "../docs/operating.md")
	for _, file := range []string{"../deploy/grafana/gatehouse.json", "../deploy/prometheus/gatehouse.rules.yml"} {
		for _, name := range regexp.MustCompile(`caddy_gatehouse_[a-z_]+`).FindAllString(read(t, file), -1) {
			name = strings.TrimSuffix(name, "_bucket")
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("%s: docs/operating.md does not know %s", file, name)
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(caddy_gatehouse_[a-z_]+)` \\|").FindAllStringSubmatch(page, -1) {
		if name := row[1]; !strings.Contains(exposed, "# HELP "+name+" ") && !mayBeAbsent[name] {
			t.Errorf("docs/operating.md speaks of %s, which is not exposed", name)
		}
	}
	for _, name := range regexp.MustCompile(`# HELP (caddy_gatehouse_[a-z_]+) `).FindAllStringSubmatch(exposed, -1) {
		if !strings.Contains(page, "| `"+name[1]+"` |") {
			t.Errorf("docs/operating.md does not know %s", name[1])
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(caddy_gatehouse_[a-z_]+)` \\| ([^|]*) \\|").FindAllStringSubmatch(page, -1) {
		if labels := exposedLabels(exposed, row[1]); labels != strings.ReplaceAll(row[2], "`", "") && !mayBeAbsent[row[1]] {
			t.Errorf("docs/operating.md gives %s the labels %q, want %q", row[1], row[2], labels)
		}
	}
	shown := read(t, "../deploy/grafana/gatehouse.json") + read(t, "../deploy/prometheus/gatehouse.rules.yml")
	for _, row := range regexp.MustCompile("(?m)^\\| `(caddy_gatehouse_[a-z_]+)` \\|").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(shown, row[1]) {
			t.Errorf("%s stands neither on the dashboard nor in an alert", row[1])
		}
	}
	if !json.Valid([]byte(read(t, "../deploy/grafana/gatehouse.json"))) {
		t.Error("the dashboard is no JSON")
	}
}

// exposedLabels lists the labels of a metric, as the page does.
func exposedLabels(exposed, name string) string {
	series := regexp.MustCompile(`(?m)^` + name + `(?:_count)?(?:\{([^}]*)\})? `).FindStringSubmatch(exposed)
	if series == nil {
		return ""
	}
	var names []string
	for _, label := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(series[1], -1) {
		names = append(names, label[1])
	}
	return strings.Join(names, ", ")
}

// mayBeAbsent are metrics without a sample where nothing has happened yet.
var mayBeAbsent = map[string]bool{
	"caddy_gatehouse_license_expiry_timestamp_seconds": true,
	"caddy_gatehouse_licenses_signed_total":            true,
	"caddy_gatehouse_license_limit":                    true,
	"caddy_gatehouse_security_events_total":            true, // of issuers with events only
	"caddy_gatehouse_security_event_polls_total":       true,
	"caddy_gatehouse_security_event_timestamp_seconds": true,
	"caddy_gatehouse_license_used":                     true,
	"caddy_gatehouse_license_over_limit_total":         true,
	"caddy_gatehouse_license_revocation_list_late":     true,
	"caddy_gatehouse_license_renewal_fault":            true,

	"caddy_gatehouse_license_revocation_list_next_update_timestamp_seconds": true,
	"caddy_gatehouse_sso_urls_total":                                        true,
	"caddy_gatehouse_activations_total":                                     true,
	"caddy_gatehouse_seats":                                                 true,
	"caddy_gatehouse_jwks_age_seconds":                                      true,
}

func TestTheCaddyfileForKubernetesAdapts(t *testing.T) {
	if _, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(kubernetesCaddyfile(t)), map[string]any{"filename": "Caddyfile"}); err != nil || len(warnings) > 0 {
		t.Errorf("got %v %v", warnings, err)
	}
}

// kubernetesCaddyfile is the Caddyfile in the example's ConfigMap.
func kubernetesCaddyfile(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, "../deploy/kubernetes/gatehouse.yaml"), "  Caddyfile: |\n")
	text, _, found := strings.Cut(rest, "\n---\n")
	if !found {
		t.Fatal("the example has no Caddyfile")
	}
	return strings.TrimPrefix(strings.ReplaceAll("\n"+text, "\n    ", "\n"), "\n") + "\n"
}

// An open event stream must not keep a stopping server alive until it is killed.
func TestDeployedServersStopWithOpenStreams(t *testing.T) {
	if apart(t) {
		return
	}
	for name, example := range map[string]struct {
		text, site, upstream string
	}{
		"systemd":    {read(t, "../deploy/systemd/Caddyfile"), "gateway.example.com {", "127.0.0.1:8009"},
		"Kubernetes": {kubernetesCaddyfile(t), ":8080 {", "backend:8009"},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, site, file := newIssuer(t), freeAddress(t), filepath.Join(t.TempDir(), "config.json")
			text := regexp.MustCompile(`grace_period \d+s`).ReplaceAllString(example.text, "grace_period 1s")
			text = strings.NewReplacer(
				example.site, "http://"+site+" {\nbind 127.0.0.1", example.upstream, strings.TrimPrefix(newUpstream(t).URL, "http://"),
				"https://login.example.com/realms/acme", issuer.URL, "/data", t.TempDir(),
				"admin localhost:2019", "admin off", ":9180", "http://"+freeAddress(t),
			).Replace(text)
			text = strings.Replace(text, "persist_config off", "persist_config off\n\tadmin off", 1)
			text = strings.Replace(text, "admin off\n\tauto_https off", "auto_https off", 1)
			config, err := adapt(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, config, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("XDG_DATA_HOME", t.TempDir()) // Caddy's storage where none is configured, which outlives a test
			n := &node{t: t, log: file + ".log", client: &http.Client{}, issuer: issuer}
			n.start(file)
			token := mint(issuer, claims{"sub": "alice", "sid": "s1", "aud": "gateway", "typ": "Bearer"})
			stream := open(t, n.client, "GET", "http://"+site+"/sse", bearer(token))
			if line, err := bufio.NewReader(stream.Body).ReadString('\n'); stream.StatusCode != http.StatusOK || err != nil {
				t.Fatalf("got %d %q, %v; want an event", stream.StatusCode, line, err)
			}
			n.terminate()
		})
	}
}

// What the image is built on is pinned by digest, and new enough for the module.
func TestTheImagesBasesArePinned(t *testing.T) {
	text := read(t, "../deploy/Dockerfile")
	bases := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(text, -1)
	if len(bases) != 2 {
		t.Errorf("%d images, want one that builds and one that runs", len(bases))
	}
	for _, base := range bases {
		name := strings.TrimSuffix(strings.TrimPrefix(base[1], "${"), "}")
		if !regexp.MustCompile(`(?m)^ARG ` + regexp.QuoteMeta(name) + `=[a-z]+:[0-9.]+\S*@sha256:[0-9a-f]{64}$`).MatchString(text) {
			t.Errorf("FROM %s: expected an ARG with image:version@sha256:digest", base[1])
		}
	}
	if _, err := os.Stat("../cmd/caddy/demo.go"); err != nil || !strings.Contains(text, "\nRUN rm cmd/caddy/demo.go\n") {
		t.Errorf("the demo must not be in what users build: %v", err)
	}
	needed := regexp.MustCompile(`(?m)^go (\S+)`).FindStringSubmatch(read(t, "../go.mod"))[1]
	if image := regexp.MustCompile(`=golang:([0-9.]+)`).FindStringSubmatch(text); image == nil || version.Compare("go"+image[1], "go"+needed) < 0 {
		t.Errorf("built with %v, go.mod needs %s", image, needed)
	}
}

// Caddy's --environ prints every variable, secrets too.
func TestTheUnitPrintsNoEnvironment(t *testing.T) {
	for _, line := range strings.Split(read(t, "../deploy/systemd/gatehouse.service"), "\n") {
		if strings.HasPrefix(line, "Exec") && strings.Contains(line, "--environ") {
			t.Errorf("the environment goes into the journal: %s", line)
		}
	}
}

// Every state has a color, and what the dashboard does not know is red.
func TestTheDashboardShowsTheLicenseState(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title       string
			FieldConfig struct {
				Defaults struct {
					Thresholds struct{ Steps []struct{ Color string } }
				}
				Overrides []struct {
					Matcher    struct{ ID, Options string }
					Properties []struct {
						Value struct{ FixedColor string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, "../deploy/grafana/gatehouse.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		if panel.Title != "License: state" {
			continue
		}
		if steps := panel.FieldConfig.Defaults.Thresholds.Steps; len(steps) != 1 || steps[0].Color != "red" {
			t.Errorf("an unknown state is shown as %v, want red", steps)
		}
		colors := map[string]string{}
		for _, override := range panel.FieldConfig.Overrides {
			if override.Matcher.ID == "byName" && len(override.Properties) == 1 {
				colors[override.Matcher.Options] = override.Properties[0].Value.FixedColor
			}
		}
		for _, state := range license.States() {
			want := "red"
			if state.Passes() {
				want = map[license.State]string{license.StateValid: "green", license.StateExpiring: "yellow", license.StateGrace: "orange"}[state]
			}
			if got := colors[string(state)]; got != want {
				t.Errorf("%s is %q, want %q", state, got, want)
			}
		}
		return
	}
	t.Error("the dashboard does not show the license's state")
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
