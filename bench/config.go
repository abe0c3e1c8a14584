package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
)

// config is what a Caddy is started with.
type config struct {
	name    string
	options []string // global ones
	site    []string // directives
	storage string   // a folder; default: a fresh one
}

// caddyfile writes the configuration of a server.
func (c config) caddyfile(v *server) string {
	storage := c.storage
	if storage == "" {
		storage = filepath.Join(filepath.Dir(v.file), "storage")
	}
	_, port, _ := net.SplitHostPort(v.address) // it comes from a listener
	options := append([]string{
		"admin " + v.admin,
		"persist_config off",
		"auto_https off",
		"grace_period 5s",
		"storage file_system " + storage,
		"log {", "\tlevel ERROR", "}",
	}, c.options...)
	site := append([]string{"bind 127.0.0.1"}, c.site...)
	return "{\n" + indent(options) + "}\nhttp://" + siteHost + ":" + port + " {\n" + indent(site) + "}\n"
}

// proxied answers from an upstream instead of by itself.
func (c config) proxied(upstream string) config {
	c.name += ", reverse_proxy"
	c.site = append(c.site[:len(c.site)-1:len(c.site)-1], "reverse_proxy "+upstream)
	return c
}

// headersConfig is a bare Caddy whose reverse_proxy sets four headers as long as
// those in which an upstream of Gatehouse learns who calls.
func headersConfig(upstream string) config {
	c := bareConfig().proxied(upstream)
	c.name += ", four fixed headers"
	c.site[len(c.site)-1] += " {"
	for _, header := range [][2]string{
		{"X-Auth-Subject", tokens.Subject(0)},
		{"X-Auth-Kind", "service_account"},
		{"X-Auth-Groups", "deployers,operators"},
		{"X-Auth-Scopes", "gateway.read,gateway.write"},
	} {
		c.site = append(c.site, "\theader_up "+header[0]+" "+header[1])
	}
	c.site = append(c.site, "}")
	return c
}

const answer = "respond 200"

func bareConfig() config { return config{name: "bare Caddy", site: []string{answer}} }

// floorConfig needs the key itself, as the floor knows no issuers.
func (s *stage) floorConfig(algorithm string) (config, error) {
	kid := strings.ToLower(algorithm) + fmt.Sprintf("-%d", indexOf(algorithm)+1)
	file := filepath.Join(s.dir, kid+".pem")
	if err := os.WriteFile(file, s.issuer.PublicPEM(kid), 0o600); err != nil {
		return config{}, err
	}
	return config{
		name: "floor",
		site: []string{fmt.Sprintf("bench_floor %s %s %s %s", s.issuer.URL, kid, algorithm, file), answer},
	}, nil
}

func indexOf(algorithm string) int {
	for i, name := range algorithms {
		if name == algorithm {
			return i
		}
	}
	return -1
}

// longConfig is a bare Caddy with a configuration about as long as another one.
func longConfig(other config) config {
	length := len(strings.Join(other.options, "")) + len(strings.Join(other.site, ""))
	site := []string{"vars {"}
	for i := range length / longValue {
		site = append(site, fmt.Sprintf("\tv%d %s", i, strings.Repeat("x", longValue)))
	}
	return config{name: "bare Caddy, as long a configuration", site: append(site, "}", answer)}
}

// longValue is as long as what says an account.
const longValue = 70

// gatehouseConfig is bearer_auth and nothing else.
func (s *stage) gatehouseConfig() config {
	return config{
		name:    "Gatehouse, bearer_auth only",
		options: s.gatehouseOption("service_accounts {", "\tregistration optional", "}"),
		site:    []string{"bearer_auth", answer},
	}
}

// gatehouseOption is the global option with the issuer and some lines more.
func (s *stage) gatehouseOption(lines ...string) []string {
	option := []string{"gatehouse {", "\tissuer " + s.issuer.URL + " {", "\t\tname acme", "\t\taudience " + tokens.Audience, "\t}"}
	for _, line := range lines {
		option = append(option, "\t"+line)
	}
	return append(option, "}")
}

// everythingConfig has on what Gatehouse has; more are lines of its option.
func (s *stage) everythingConfig(more ...string) config {
	return s.licensedConfig(s.license, append(declaredAccounts(), more...)...)
}

// declaredAccounts are the accounts that the tokens are of.
func declaredAccounts() []string {
	accounts := []string{"service_accounts {"}
	for i := range tokens.Accounts {
		accounts = append(accounts, "\taccount "+tokens.Subject(i)+" {", "\t\tissuer acme", "\t\tgroups deployers", "\t}")
	}
	return append(accounts, "}")
}

func (s *stage) licensedConfig(files *licenseFiles, lines ...string) config {
	site := []string{
		"bearer_auth {",
		"\tscope gateway.read",
		"\tgroup deployers admins",
		"\tclaim tenant.plan pro enterprise",
		"\theader X-Auth-Subject {http.auth.user.id}",
		"\theader X-Auth-Kind {http.auth.user.kind}",
		"\theader X-Auth-Groups {http.auth.user.groups}",
		"\theader X-Auth-Scopes {http.auth.user.scopes}",
		"}",
		answer,
	}
	if files != nil {
		lines = append(lines, "license {", "\tfile "+files.license, "\ttrusted_key "+files.key, "}")
		site = append([]string{"require_license"}, site...)
	}
	return config{name: "Gatehouse, everything", options: s.gatehouseOption(lines...), site: site}
}
