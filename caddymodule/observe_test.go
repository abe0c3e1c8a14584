package caddymodule_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// observed is a gateway with everything on that tells how it is. NAME is the
// issuer's name; those of different tests differ, as counters belong to the
// process.
const observed = `{
	OBSERVED
	events {
		on jwks_unavailable test_listener
		on jwks_recovered test_listener
		on service_account_changed test_listener
		on license_state_changed test_listener
	}
	gatehouse {
		issuer ISSUER {
			name NAME
			audience https://gateway.example.com
			leeway 0s
			max_lifetime 2h
			introspection {
				client_id gateway
				client_secret {env.GATEHOUSE_TEST_CLIENT_SECRET}
				prefix asked_
			}
		}
		issuer DOWN {
			name NAME-down
			audience https://gateway.example.com
			introspection {
				client_id gateway
				client_secret {env.GATEHOUSE_TEST_CLIENT_SECRET}
				prefix down_
			}
		}
		service_accounts {
			refresh 50ms
			account ci {
				issuer NAME
			}
			account retired {
				issuer NAME
				status inactive
			}
		}
		license {
			trusted_key VENDOR
			missing allow
		}
		api {
			issuer NAME
			trust_admin_endpoint
		}
		MORE
	}
}
http://SITE {
	bind 127.0.0.1
	handle /metrics {
		metrics
	}
	gatehouse_api
	handle_path /gw/* {
		gatehouse_api
	}
	bearer_auth /all/* {
		token_from cookie session
		token_from header X-Access-Token
		token_from query access_token
	}
	bearer_auth /scope/* {
		name scope
		scope gateway.read
	}
	bearer_auth /acr/* {
		name acr
		acr phr
	}
	bearer_auth /lately/* {
		name lately
		authenticated_within 5m
	}
	bearer_auth /group/* {
		name group
		group operators
	}
	bearer_auth /claim/* {
		name claim
		claim tenant acme
	}
	bearer_auth /machines/* {
		name machines
		service_account only
	}
	bearer_auth /people/* {
		name people
		service_account deny
	}
	bearer_auth /header/* {
		header X-Evil {http.auth.user.claims.evil}
	}
	handle {
		respond "in"
	}
}
`

// observe starts observed.
func observe(t *testing.T, name string, vars ...string) (g *gateway, issuer *idp.Issuer, admin string) {
	t.Helper()
	g, issuer, admin = observable(t, name, vars...)
	if err := g.load(observed); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the service accounts are loaded", func() bool { return strings.Contains(g.log(), "service accounts loaded") })
	return g, issuer, admin
}

// observable makes what observed needs, with free addresses for the admin endpoint
// and for an issuer that is down.
func observable(t *testing.T, name string, vars ...string) (g *gateway, issuer *idp.Issuer, admin string) {
	t.Helper()
	issuer, admin = newIssuer(t, idp.WithClient(idp.Client{ID: "gateway", Secret: clientSecret})), freeAddress(t)
	t.Setenv("GATEHOUSE_TEST_CLIENT_SECRET", clientSecret)
	own := strings.Replace(globals, "admin off", "admin "+admin, 1)
	vars = append(vars, "OBSERVED", own, "ISSUER", issuer.URL, "DOWN", "http://"+freeAddress(t), "NAME", name, "VENDOR", newVendor(t).public())
	return prepare(t, append(vars, "MORE", "")...), issuer, admin
}

// clientSecret is what a gateway proves itself by where it asks about tokens.
const clientSecret = "a secret of the gateway that nobody may see"

// unique is a name of an issuer that no other test uses, not even itself when
// it is run again.
func unique(name string) string { return name + "-" + strings.ToLower(rand.Text()[:8]) }

// samples are the metrics of one scrape.
type samples map[string]float64

// scrape reads /metrics.
func (g *gateway) scrape() samples {
	g.t.Helper()
	got := g.get("/metrics")
	if got.status != http.StatusOK {
		g.t.Fatalf("got %d of /metrics", got.status)
	}
	all := make(samples)
	lines := bufio.NewScanner(strings.NewReader(got.body))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if !strings.Contains(name, "{") {
			name, value, _ = strings.Cut(lines.Text(), " ")
		} else {
			name += "}"
		}
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			all[strings.TrimPrefix(name, "caddy_gatehouse_")] = number
		}
	}
	return all
}

// since gives how much a metric has grown; every series is there from the
// beginning.
func (s samples) since(t *testing.T, before samples, series string) float64 {
	t.Helper()
	now, ok := s[series]
	if _, was := before[series]; !ok || !was {
		t.Errorf("there is no %s", series)
	}
	return now - before[series]
}

func tokens(issuer, result string) string {
	return fmt.Sprintf(`tokens_total{issuer=%q,result=%q}`, issuer, result)
}

// logged gives the lines of the log with a message, as JSON.
func (g *gateway) logged(message string) (lines []map[string]any) {
	g.t.Helper()
	for line := range strings.Lines(g.log()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			lines = append(lines, entry)
		}
	}
	return lines
}

// testListener hears events, as a handler module of a user would.
type testListener struct{}

func init() { caddy.RegisterModule(testListener{}) }

var heard = struct {
	sync.Mutex
	events []caddy.Event
}{}

func (testListener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.test_listener", New: func() caddy.Module { return new(testListener) }}
}

func (*testListener) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (*testListener) Handle(_ context.Context, e caddy.Event) error {
	heard.Lock()
	defer heard.Unlock()
	heard.events = append(heard.events, e)
	return nil
}

// hears gives the data of the events of a name that have come so far and hold
// a text under a key.
func hears(name, key, text string) (data []map[string]any) {
	heard.Lock()
	defer heard.Unlock()
	for _, e := range heard.events {
		if e.Name() == name && fmt.Sprint(e.Data[key]) == text {
			data = append(data, e.Data)
		}
	}
	return data
}

// heardAll is every event so far, in one text.
func heardAll() string {
	heard.Lock()
	defer heard.Unlock()
	var all strings.Builder
	for _, e := range heard.events {
		fmt.Fprintln(&all, e.Name(), e.Data)
	}
	return all.String()
}
