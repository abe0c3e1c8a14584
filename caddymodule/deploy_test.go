package caddymodule_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// What is deployed must speak of metrics that there are, and of options that
// there are.
func TestDashboardAndAlertsKnowTheMetrics(t *testing.T) {
	g, _, _ := observe(t, unique("deployed"))
	exposed := g.get("/metrics").body
	readme := read(t, "../README.md")
	for _, file := range []string{"../deploy/grafana/gatehouse.json", "../deploy/prometheus/gatehouse.rules.yml"} {
		for _, name := range regexp.MustCompile(`caddy_gatehouse_[a-z_]+`).FindAllString(read(t, file), -1) {
			name = strings.TrimSuffix(name, "_bucket")
			if !strings.Contains(readme, "`"+name+"`") {
				t.Errorf("%s: the README does not know %s", file, name)
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(caddy_gatehouse_[a-z_]+)` \\|").FindAllStringSubmatch(readme, -1) {
		if name := row[1]; !strings.Contains(exposed, "# HELP "+name+" ") && !mayBeAbsent[name] {
			t.Errorf("the README speaks of %s, which is not exposed", name)
		}
	}
	for _, name := range regexp.MustCompile(`# HELP (caddy_gatehouse_[a-z_]+) `).FindAllStringSubmatch(exposed, -1) {
		if !strings.Contains(readme, "| `"+name[1]+"` |") {
			t.Errorf("the README does not know %s", name[1])
		}
	}
	if !json.Valid([]byte(read(t, "../deploy/grafana/gatehouse.json"))) {
		t.Error("the dashboard is no JSON")
	}
}

// mayBeAbsent are metrics without a sample where nothing has happened yet.
var mayBeAbsent = map[string]bool{
	"caddy_gatehouse_license_expiry_timestamp_seconds": true,
	"caddy_gatehouse_license_denials_total":            true,
	"caddy_gatehouse_licenses_signed_total":            true,
	"caddy_gatehouse_sso_urls_total":                   true,
	"caddy_gatehouse_jwks_age_seconds":                 true,
}

func TestTheCaddyfileForKubernetesAdapts(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, "../deploy/kubernetes/gatehouse.yaml"), "  Caddyfile: |\n")
	text, _, found := strings.Cut(rest, "\n---\n")
	if !found {
		t.Fatal("the example has no Caddyfile")
	}
	text = strings.TrimPrefix(strings.ReplaceAll("\n"+text, "\n    ", "\n"), "\n") + "\n"
	if _, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"}); err != nil || len(warnings) > 0 {
		t.Errorf("got %v %v", warnings, err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
