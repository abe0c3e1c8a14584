package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(foreignHandler{}) }

// foreignHandler is a handler that Gatehouse knows nothing of. It lets all pass.
type foreignHandler struct{}

func (foreignHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_foreign", New: func() caddy.Module { return new(foreignHandler) }}
}

func (foreignHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// placementSites has a site in front of the one that is tested and one behind it, so that
// it is seen that their ways do not mix.
const placementSites = `{
	GLOBALS
	gatehouse {
		issuer https://login.example.com {
			name acme
			audience https://gateway.example.com
		}
		license {
			trusted_key PUBLIC
		}
	}
}
(person) {
	@person principal {
		kind user
	}
}
&(shared) {
	header X-Shared {http.auth.user.id}
}
http://SECOND {
	bind 127.0.0.1
	header X-Public {http.auth.user.id}
	respond open
}
http://SITE {
	bind 127.0.0.1
	BODY
}
http://last.example.com:9 {
	bind 127.0.0.1
	bearer_auth
	respond "{http.auth.user.id}"
}
`

// validated gives what `caddy validate` says of a configuration, and what it logs.
func validated(t *testing.T, g *gateway, config []byte) (log string, err error) {
	t.Helper()
	parsed := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(config, parsed); err != nil {
		t.Fatal(err)
	}
	err = caddy.Validate(parsed)
	return g.log(), err
}

// What is misspelt, or stands where nobody is known yet, is an error of `caddy validate`,
// with the place and with what would be right.
func TestValidateFindsMisplacedAndMisspelt(t *testing.T) {
	const alwaysEmpty = " in front of bearer_auth, where it is always empty: put it behind"
	const lonely = "principal: no bearer_auth stands in front of it: put it behind one"
	const site = "site 127.0.0.1"
	for body, want := range map[string]string{
		// spelling
		"bearer_auth\nhandle /x/* {\nrespond \"{http.auth.user.subject}\"\n}":                                                               site + ", path /x/*, respond: found {http.auth.user.subject}, expected {http.auth.user.…} with one of id, kind",
		"bearer_auth\nheader X-License {http.license.stat}":                                                                                 site + ", header: found {http.license.stat}, expected {http.license.…} with one of state, code",
		"bearer_auth\nheader >X-Late {http.auth.user.subject}":                                                                              "header: found {http.auth.user.subject}",
		"require_license\nrespond {http.license.stat}":                                                                                      "respond: found {http.license.stat}",
		"bearer_auth\nheader X-A {http.auth.resaon}":                                                                                        "header: found {http.auth.resaon}, expected {http.auth.user.…}",
		"bearer_auth\nreverse_proxy 127.0.0.1:9 {\nheader_up X-A {http.auth.user.mail}\n}":                                                  "reverse_proxy: found {http.auth.user.mail}",
		"bearer_auth\nreverse_proxy 127.0.0.1:9 {\nhandle_response {\nrespond {http.auth.user.mail}\n}\n}":                                  "reverse_proxy, respond: found {http.auth.user.mail}",
		"bearer_auth\n@m vars {http.auth.user.grups} ops\nrespond @m x":                                                                     ": found {http.auth.user.grups}",
		"bearer_auth\n@m expression `{http.auth.user.grups} == \"ops\"`\nrespond @m x":                                                      ": found {http.auth.user.grups}",
		"bearer_auth\nhandle_errors {\nrespond {http.auth.user.sub}\n}":                                                                     "respond: found {http.auth.user.sub}",
		"basic_auth {\njane $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\nrequire_license\nrespond {http.auth.user.sub}": "found {http.auth.user.sub}",
		"bearer_auth\nrespond \"{http.auth.user.sub} {http.license.stat}\"":                                                                 "2 mistakes: " + site,

		// good spelling, and what only looks like a placeholder
		"bearer_auth\nrespond \"{http.auth.user.id} {http.auth.user.claims.a.b} {http.auth.reason} {http.auth.rule} {http.auth.candidate.id} {http.auth.http_basic.error} {http.license.state}\"": "",
		`bearer_auth` + "\nrespond `\\{http.auth.user.sub}`":                                                               "",
		"bearer_auth\nmap {http.auth.user.id} {http.auth.user.tier} {\njane gold\n}\nheader >X-Tier {http.auth.user.tier}": "",

		// placeholders in front
		"route {\nheader X-User {http.auth.user.id}\nbearer_auth\n}":                                                                                     "header: found {http.auth.user.id}" + alwaysEmpty,
		"root * /srv/{http.auth.user.id}\nbearer_auth\nfile_server":                                                                                      "vars: found {http.auth.user.id}" + alwaysEmpty,
		"rewrite * /{http.auth.user.id}{uri}\nbearer_auth\nrespond x":                                                                                    "rewrite: found {http.auth.user.id}" + alwaysEmpty,
		"@m vars {http.auth.user.kind} user\nredir @m /x\nbearer_auth\nrespond x":                                                                        ": found {http.auth.user.kind}" + alwaysEmpty,
		"route {\nroute /a* {\nheader X-User {http.auth.user.id}\n}\nroute {\nbearer_auth\n}\n}":                                                         "path /a*, header: found {http.auth.user.id}" + alwaysEmpty,
		"header >X-User {http.auth.user.id}\nbearer_auth\nrespond x":                                                                                     "", // filled in when the response begins
		"log_append user {http.auth.user.id}\nbearer_auth\nrespond x":                                                                                    "",
		"map {http.auth.user.id} {tier} {\njane gold\n}\nbearer_auth\nrespond {tier}":                                                                    "", // filled in when it is used
		"header X-User {http.auth.user.id}\nrespond x\nrequire_license":                                                                                  "", // a snippet of all sites, where one asks nobody
		"handle /public {\nrespond \"{http.auth.user.id}\"\n}\nhandle {\nbearer_auth\n}":                                                                 "",
		"handle_errors {\nrespond {http.auth.user.id}\n}\nbearer_auth":                                                                                   "",
		"invoke shared\nbearer_auth\nrespond x":                                                                                                          "", // who invokes it is not followed
		"route {\nbasic_auth {\njane $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\nheader X-User {http.auth.user.id}\nbearer_auth\n}": "",

		// matchers in front
		"import person\nrespond @person in":                                                    lonely,
		"import person\nredir @person /x\nbearer_auth\nrespond in":                             site + ": " + lonely,
		"import person\nroute {\nrespond @person in\nbearer_auth\n}":                           lonely,
		"@not not principal {\nkind user\n}\nredir @not /x\nbearer_auth":                       lonely,
		"@cel expression `principal({'kind': 'user'})`\nredir @cel /x\nbearer_auth":            lonely,
		"import person\nhandle /a* {\nbearer_auth\n}\nhandle {\nrespond @person in\n}":         lonely,
		"require_license\nimport person\nroute {\nroute @person {\nbearer_auth\n}\n}":          lonely,
		"handle /in {\nbearer_auth\n}\nimport person\nrespond @person in":                      "", // handle sorts first, and takes what respond does not see
		"bearer_auth\nimport person\nrespond @person in":                                       "",
		"bearer_auth /api/*\nimport person\nrespond @person in":                                "", // may have run
		"route {\nbearer_auth\nimport person\nrespond @person in\n}":                           "",
		"import person\nhandle {\nbearer_auth\nhandle @person {\nrespond in\n}\n}":             "",
		"import person\nbearer_auth\nhandle_errors {\nrespond @person in\n}":                   "",
		"import person\nforward_auth 127.0.0.1:9 {\nuri /\n}\nbearer_auth\nrespond @person in": "",
		"import person\nbearer_auth\nintercept {\nhandle_response {\nrespond @person in\n}\n}": "",
	} {
		t.Run(strings.NewReplacer("{", "", "}", "").Replace(body), func(t *testing.T) {
			g := prepare(t, "PUBLIC", newVendor(t).public(), "BODY", body)
			config, err := g.adapted(placementSites)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // Caddy makes apps in any order
				log, err := validated(t, g, config)
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Fatalf("validate says %v, want %q", err, want)
				}
				if strings.Contains(log, "stands for nothing") {
					t.Errorf("it warns of what is known: %s", log)
				}
			}
		})
	}
}

// A handler of others may know who is calling, by names of its own: what is only
// probable is a warning.
func TestValidateWarnsOfWhatOthersMayFillIn(t *testing.T) {
	g := prepare(t, "PUBLIC", newVendor(t).public(), "BODY", "route {\nmetrics /foreign\nimport person\nheader X-User {http.auth.user.tier}\nheader X-License {http.license.state}\nrespond @person {http.auth.user.id}\nbearer_auth\n}")
	config, err := g.adapted(placementSites)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(config), `"handler":"metrics"`, `"handler":"test_foreign"`, 1)
	log, err := validated(t, g, []byte(changed))
	if err != nil {
		t.Errorf("validate says %v", err)
	}
	if strings.Count(log, "stands for nothing") != 1 || !strings.Contains(log, `"placeholder":"{http.auth.user.tier}"`) ||
		!strings.Contains(log, `"place":"site 127.0.0.1, header"`) {
		t.Errorf("it logs %s, want one warning with the place", log)
	}
	changed = strings.Replace(changed, "http.license.state", "http.license.stat", 1)
	if _, err := validated(t, g, []byte(changed)); err == nil || !strings.Contains(err.Error(), "{http.license.stat}") {
		t.Errorf("validate says %v of a placeholder that is nobody else's", err)
	}
}

// A header that bearer_auth sets, and a directive behind it deletes, does not arrive:
// validate and the start say so.
func TestHeadersDeletedBehindBearerAuthAreWarnedOf(t *testing.T) {
	const warning = "headers that bearer_auth sets are deleted again behind it"
	const set = "bearer_auth {\nheader X-Auth-Subject {http.auth.user.id}\nheader X-Auth-Groups {http.auth.user.groups}\n}\n"
	for body, want := range map[string]string{
		set + "request_header -X-Auth-*":                                                             `"headers":["X-Auth-Groups","X-Auth-Subject"],"place":"site 127.0.0.1, headers"`,
		set + "request_header -x-auth-subject":                                                       `"headers":["X-Auth-Subject"]`,
		set + "request_header -*-Groups":                                                             `"headers":["X-Auth-Groups"]`,
		set + "reverse_proxy 127.0.0.1:9 {\nheader_up -X-Auth-Subject\n}":                            `"place":"site 127.0.0.1, reverse_proxy"`,
		set + "handle /api/* {\nrequest_header -X-Auth-*\n}":                                         `path /api/*, headers"`,
		"handle /api/* {\n" + set + "request_header -X-Auth-*\n}":                                    `path /api/*, headers"`,
		strings.Replace(set, "bearer_auth", "bearer_auth /a/*", 1) + "request_header -X-Auth-*":      `X-Auth-Groups`,
		"route {\nrequest_header -X-Auth-*\n" + set + "}":                                            "",
		set + "request_header -X-Other":                                                              "",
		set + "request_header X-Auth-Subject other":                                                  "",
		set + "header -X-Auth-*":                                                                     "",
		"handle /api/* {\n" + set + "}\nhandle {\nrequest_header -X-Auth-*\n}":                       "",
		strings.Replace(set, "bearer_auth", "bearer_auth /a/*", 1) + "request_header /b/* -X-Auth-*": "",
	} {
		g := prepare(t, "PUBLIC", newVendor(t).public(), "BODY", body)
		config, err := g.adapted(placementSites)
		if err != nil {
			t.Fatal(err)
		}
		log, err := validated(t, g, config)
		if err != nil {
			t.Fatal(err)
		}
		warned := strings.Count(log, warning)
		if want == "" && warned != 0 || want != "" && (warned != 1 || !strings.Contains(log, want)) {
			t.Errorf("%s: validate warns %d times, want %q: %s", body, warned, want, log)
		}
		if err := g.load(placementSites); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(g.log(), warning); n != 2*warned {
			t.Errorf("%s: with the start there are %d warnings, want %d", body, n, 2*warned)
		}
		g.stop()
	}
}
