package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

func readDeploy(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The manifests are what Kubernetes' own types say, to the last member: a misspelt one
// would be dropped by the cluster without a word.
func TestDeployManifests(t *testing.T) {
	kinds := map[string]func() any{
		"v1 ConfigMap": func() any { return new(core.ConfigMap) }, "v1 Secret": func() any { return new(core.Secret) },
		"v1 Service": func() any { return new(core.Service) }, "v1 ServiceAccount": func() any { return new(core.ServiceAccount) },
		"v1 PersistentVolumeClaim": func() any { return new(core.PersistentVolumeClaim) }, "v1 Namespace": func() any { return new(core.Namespace) },
		"apps/v1 Deployment": func() any { return new(apps.Deployment) }, "apps/v1 StatefulSet": func() any { return new(apps.StatefulSet) },
		"policy/v1 PodDisruptionBudget": func() any { return new(policy.PodDisruptionBudget) },
	}
	seen := 0
	for _, document := range bytes.Split(readDeploy(t, "kubernetes/gatehouse.yaml"), []byte("\n---\n")) {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(document, &head); err != nil {
			t.Fatal(err)
		}
		if head.Kind == "" {
			continue // comments only
		}
		seen++
		made := kinds[head.APIVersion+" "+head.Kind]
		if made == nil {
			t.Errorf("%s %s: the test does not know the kind", head.APIVersion, head.Kind)
			continue
		}
		if err := yaml.UnmarshalStrict(document, made()); err != nil {
			t.Errorf("%s: %v", head.Kind, err)
		}
		if err := yaml.UnmarshalStrict(append(document, "\nmisspelt: 1\n"...), made()); err == nil {
			t.Errorf("%s: a member that there is not is taken", head.Kind)
		}
	}
	if seen < 3 {
		t.Errorf("%d manifests were read", seen)
	}
}

// systemd knows every line of the unit.
func TestDeployUnit(t *testing.T) {
	program := filepath.Join(t.TempDir(), "caddy")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "gatehouse.service")
	text := strings.ReplaceAll(string(readDeploy(t, "systemd/gatehouse.service")), "/usr/local/bin/caddy", program)
	verify := func(text string) string {
		if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		said, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		var ours []string
		for line := range strings.SplitSeq(string(said), "\n") {
			if strings.Contains(line, "gatehouse.service") { // and not the machine's own units
				ours = append(ours, line)
			}
		}
		return strings.Join(ours, "\n")
	}
	if said := verify(text); said != "" {
		t.Error(said)
	}
	if said := verify(strings.Replace(text, "NoNewPrivileges=", "NoNewPrivilege=", 1)); said == "" {
		t.Error("a misspelt line is not found")
	}
}

// prometheus runs a Prometheus that scrapes an address each second, with our rules.
func prometheus(t *testing.T, target string) (address string) {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	rules, err := filepath.Abs("../../deploy/prometheus/gatehouse.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n- job_name: gatehouse\n  static_configs: [{targets: [%q]}]\n", rules, target)
	if err := os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, "prometheus", "--config.file="+filepath.Join(folder, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+address)
	var said bytes.Buffer
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = server.Wait() // it was killed
		if t.Failed() {
			t.Log(said.String())
		}
	})
	return address
}

// asked is what Prometheus answers to a question; nil if it does not answer yet.
func asked(t *testing.T, address, path string, query url.Values, data any) (failed string) {
	t.Helper()
	response, err := http.Get("http://" + address + path + "?" + query.Encode())
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err.Error()
	}
	if answer.Status != "success" {
		return answer.Error
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		t.Fatal(err)
	}
	return ""
}

// dashboardQueries are those of the dashboard, as Grafana would send them.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	var dashboard any
	if err := json.Unmarshal(readDeploy(t, "grafana/gatehouse.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if query, ok := node["expr"].(string); ok {
				queries = append(queries, strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(query))
			}
			for _, inner := range node {
				walk(inner)
			}
		case []any:
			for _, inner := range node {
				walk(inner)
			}
		}
	}
	walk(dashboard)
	return queries
}

// absent are metrics of what the test does not configure: a license with its clock, list
// and limits, seats, login addresses, introspection, and events of issuers.
var absent = regexp.MustCompile(`^caddy_gatehouse_(clock_suspect|license_.*|licenses_.*|activations_total|seats|sso_urls_total|introspections?_.*|security_event.*)$`)

// A real Prometheus takes every query of the dashboard and every rule, and finds the
// metrics with their labels at a running instance.
func TestDeployPrometheus(t *testing.T) {
	issuer, err := idp.New()
	if err != nil {
		t.Fatal(err)
	}
	defer issuer.Close()
	site := serve(t, `{
	admin off
	auto_https off
	persist_config off
	storage file_system STORAGE
	metrics
	gatehouse {
		issuer ISSUER {
			name acme
			audience AUDIENCE
		}
		service_accounts {
			registration optional
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle /metrics {
		metrics
	}
	handle {
		bearer_auth
		respond ok
	}
}
`, "ISSUER", issuer.URL, "AUDIENCE", idp.DefaultAudience)
	server := prometheus(t, strings.TrimSuffix(strings.TrimPrefix(site, "http://"), "/"))
	token := issuer.Mint(nil)
	series := make(map[string]map[string]bool) // the labels of a metric
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		get(t, site, token)
		get(t, site, token+"A")
		var found []map[string]string
		failed := asked(t, server, "/api/v1/series", url.Values{"match[]": {`{__name__=~"caddy_gatehouse_.+"}`}}, &found)
		for _, one := range found {
			labels := series[one["__name__"]]
			if labels == nil {
				labels = make(map[string]bool)
				series[one["__name__"]] = labels
			}
			for label := range one {
				labels[label] = true
			}
		}
		var twice []any // a rate needs two points
		if failed == "" {
			failed = asked(t, server, "/api/v1/query", url.Values{"query": {`rate(caddy_gatehouse_tokens_total{result="let_in"}[1m]) > 0`}}, &vector{&twice})
		}
		if failed == "" && len(twice) > 0 {
			break
		}
		if time.Now().After(deadline) {
			var targets any
			_ = asked(t, server, "/api/v1/targets", nil, &targets) // if it answers at all
			t.Fatalf("Prometheus has nothing of it: %s; %v; %v", failed, targets, slices.Sorted(maps.Keys(series)))
		}
	}
	checkRules(t, server, series)
	queries := dashboardQueries(t)
	if len(queries) < 15 {
		t.Errorf("the dashboard has %d queries", len(queries))
	}
	for _, query := range queries {
		var found []any
		if failed := asked(t, server, "/api/v1/query", url.Values{"query": {query}}, &vector{&found}); failed != "" {
			t.Errorf("%s: %s", query, failed)
		}
		known := checkNames(t, query, series)
		if known && len(found) == 0 && !strings.Contains(query, `result="hit"`) {
			t.Errorf("%s: finds nothing", query)
		}
	}
}

// vector reads the vector out of the answer to a query.
type vector struct{ list *[]any }

func (v *vector) UnmarshalJSON(text []byte) error {
	var data struct{ Result []any }
	err := json.Unmarshal(text, &data)
	*v.list = data.Result
	return err
}

// checkRules asks whether all rules were evaluated, and holds their names against what
// there is.
func checkRules(t *testing.T, server string, series map[string]map[string]bool) {
	t.Helper()
	var all struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, Query string }
		}
	}
	for range 50 {
		if failed := asked(t, server, "/api/v1/rules", nil, &all); failed != "" {
			t.Fatal(failed)
		}
		if !strings.Contains(fmt.Sprint(all), " unknown ") {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	count := 0
	for _, group := range all.Groups {
		for _, rule := range group.Rules {
			count++
			checkNames(t, rule.Query, series)
			if rule.Health != "ok" || rule.LastError != "" {
				t.Errorf("the rule %s is %s: %s", rule.Name, rule.Health, rule.LastError)
			}
		}
	}
	if count < 10 {
		t.Errorf("%d rules were read", count)
	}
}

var (
	selector = regexp.MustCompile(`(caddy_gatehouse_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	grouping = regexp.MustCompile(`by \(([a-z_, ]+)\)`)
)

// checkNames compares the metrics and labels of a query with what was scraped, and reports
// whether all metrics were there.
func checkNames(t *testing.T, query string, series map[string]map[string]bool) (known bool) {
	t.Helper()
	known = true
	all := make(map[string]bool)
	for _, found := range selector.FindAllStringSubmatch(query, -1) {
		labels := series[found[1]]
		if labels == nil {
			if known = false; !absent.MatchString(found[1]) {
				t.Errorf("%s: there is no %s", query, found[1])
			}
			continue
		}
		maps.Copy(all, labels)
		for _, label := range matcher.FindAllStringSubmatch(found[2], -1) {
			if !labels[label[1]] {
				t.Errorf("%s: %s has no label %s, only %v", query, found[1], label[1], slices.Sorted(maps.Keys(labels)))
			}
		}
	}
	if by := grouping.FindStringSubmatch(query); known && by != nil {
		for label := range strings.SplitSeq(by[1], ", ") {
			if !all[label] {
				t.Errorf("%s: nothing has the label %s", query, label)
			}
		}
	}
	return known
}
