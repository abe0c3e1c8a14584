package docs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// Every refusal has a row with its message, its reason, what it means and what to
// do, and no other row does.
func TestEveryRefusalIsDocumented(t *testing.T) {
	messages := map[string]string{}
	for _, heading := range []string{"## The request", "## The token", "## The proof of a bound token", "## The caller", "## Something is out of reach"} {
		for _, cells := range rows(section(t, "docs/troubleshooting.md", heading)) {
			reason := strings.Trim(cells[1], "`")
			if reason == "none" {
				continue // Caddy's own
			}
			if len(cells) != 4 || cells[2] == "" || cells[3] == "" {
				t.Errorf("%s: the row %q does not say what it means and what to do", reason, cells)
			}
			if messages[reason] != "" {
				t.Errorf("%s is documented twice", reason)
			}
			messages[reason] = cells[0]
		}
	}
	for _, refusal := range refusals() {
		if messages[refusal.Reason] != refusal.Message {
			t.Errorf("the page says %q of %s, want %q", messages[refusal.Reason], refusal.Reason, refusal.Message)
		}
		delete(messages, refusal.Reason)
	}
	for reason := range messages {
		t.Errorf("%s is documented, and is no refusal", reason)
	}
}

// refusals are all, each once.
func refusals() []*auth.Refusal {
	all := auth.Refusals()
	for _, refusal := range auth.SenderRefusals() {
		if !slices.ContainsFunc(all, func(r *auth.Refusal) bool { return r.Reason == refusal.Reason }) {
			all = append(all, refusal)
		}
	}
	return all
}

var update = flag.Bool("update", false, "write the files that are made from the pages")

// The status page explains every reason in the words of the page on troubleshooting.
func TestTheStatusPageExplainsEveryReason(t *testing.T) {
	type explained struct {
		Message string `json:"message"`
		Means   string `json:"means"`
		Do      string `json:"do"`
	}
	link := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	plain := func(cell string) string { return strings.ReplaceAll(link.ReplaceAllString(cell, "$1"), "`", "") }
	all := map[string]explained{}
	for _, heading := range []string{"## The request", "## The token", "## The proof of a bound token", "## The caller", "## Something is out of reach", "## The license"} {
		for _, cells := range rows(section(t, "docs/troubleshooting.md", heading)) {
			if reason := strings.Trim(cells[1], "`"); len(cells) == 4 && reason != "none" {
				all[reason] = explained{cells[0], plain(cells[2]), plain(cells[3])}
			}
		}
	}
	const file = "caddymodule/api/page/reasons.json"
	var want bytes.Buffer
	encoder := json.NewEncoder(&want) // escapes <, as is right within a script
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(all); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(filepath.Join(root, file), want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, file) != want.String() {
		t.Errorf("%s is not what docs/troubleshooting.md says: go test ./internal/docs -run StatusPage -update", file)
	}
}

func TestEveryLicenseCodeIsDocumented(t *testing.T) {
	var documented []string
	for _, cells := range rows(section(t, "docs/troubleshooting.md", "## The license")) {
		if code := strings.Trim(cells[1], "`"); strings.HasPrefix(code, "license_") {
			documented = append(documented, code)
		}
	}
	var known []string
	for _, reason := range []license.Reason{
		license.ReasonMissing, license.ReasonForm, license.ReasonUnknownKey, license.ReasonRevokedKey, license.ReasonRetiredKey,
		license.ReasonSignature, license.ReasonRevokedID, license.ReasonInstance, license.ReasonNotYetValid, license.ReasonExpired, license.ReasonHost, license.ReasonFeature,
	} {
		known = append(known, reason.Code())
	}
	same(t, "codes of the license", documented, known)

	var states []string
	for _, cells := range rows(section(t, "docs/license-deployment.md", "## States")) {
		states = append(states, strings.Trim(cells[0], "`"))
	}
	var all []string
	for _, state := range license.States() {
		all = append(all, string(state))
	}
	same(t, "states of the license", states, all)
}

func TestEverySSOCodeIsDocumented(t *testing.T) {
	var documented, known []string
	for _, cells := range rows(section(t, "docs/sso-url.md", "## Errors")) {
		documented = append(documented, codes(cells[0])...)
	}
	for _, code := range sso.Codes {
		known = append(known, string(code))
	}
	same(t, "codes of sso", documented, known)
}

// The table of routes and the OpenAPI document, which the router is held against,
// have the same routes.
func TestEveryRouteIsDocumented(t *testing.T) {
	var document struct{ Paths map[string]map[string]any }
	if err := yaml.Unmarshal([]byte(read(t, "docs/openapi.yaml")), &document); err != nil {
		t.Fatal(err)
	}
	var described, documented []string
	for path, methods := range document.Paths {
		for method := range methods {
			if method != "parameters" && (path == "/gatehouse/" || !strings.HasSuffix(path, "/")) {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, cells := range rows(section(t, "docs/api.md", "## Routes")) {
		documented = append(documented, strings.Trim(cells[0], "`"))
	}
	same(t, "routes", documented, described)
}

func TestEveryActivationCodeIsDocumented(t *testing.T) {
	var documented, known []string
	for _, cells := range rows(section(t, "docs/activation.md", "## Errors")) {
		documented = append(documented, codes(cells[0])...)
	}
	for _, code := range sso.LicenseCodes {
		known = append(known, string(code))
	}
	same(t, "codes of activation", documented, known)
}
