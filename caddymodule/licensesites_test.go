package caddymodule_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// ask sends a Host header as it is written, which Go's client would not.
func (g *gateway) ask(t *testing.T, host string) int {
	t.Helper()
	conn, err := net.Dial("tcp", g.site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := "GET / HTTP/1.0\r\n\r\n"
	if host != "" {
		request = "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// anyHost is a site that takes every host, so that the license alone decides.
func anyHost(v *vendor) string {
	return strings.NewReplacer("http://SITE {", ":PORT {", "http://SECOND {", "http://SECOND {").Replace(v.caddyfile())
}

// Every row of the vectors that a license can be signed for, by the Host header
// of a running server.
func TestLicenseHostVectors(t *testing.T) {
	data, err := os.ReadFile("../license/testdata/hosts.tsv")
	if err != nil {
		t.Fatal(err)
	}
	v := newVendor(t)
	g := prepare(t)
	_, port, _ := net.SplitHostPort(g.site)
	g.vars = append(g.vars, "PORT", port)
	rows, before := 0, ""
	for line := range strings.Lines(string(data)) {
		row := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if strings.HasPrefix(line, "#") || len(row) < 3 || row[2] != "allow" && row[2] != "deny" {
			continue
		}
		rows++
		pattern, host, verdict := row[0], row[1], row[2]
		if pattern != before {
			g.stop() // so that no other license was ever known
			v.write(v.sign(0, asks(pattern)))
			if err := g.load(anyHost(v)); err != nil {
				t.Fatal(err)
			}
			before = pattern
		}
		// Go's server itself refuses some malformed hosts, with 400.
		got := g.ask(t, host)
		if allowed := got == http.StatusOK; allowed != (verdict == "allow") || !allowed && got != 403 && got != 400 {
			t.Errorf("%s, Host %q: got %d, want %s", pattern, host, got, verdict)
		}
	}
	if rows < 30 {
		t.Errorf("found %d rows, want all of them", rows)
	}
}

const manySites = `{
	GLOBALS
	gatehouse {
		issuer https://login.example.com {
			name acme
			audience https://gateway.example.com
		}
		license {
			file FILE
			trusted_key PUBLIC
		}
	}
}
http://a.example.com:PORT, http://b.example.org:PORT {
	require_license
	respond "in"
}
http://*.example.net:PORT {
	@one host one.example.net
	handle @one {
		require_license
		respond "in"
	}
	respond "no license needed"
}
http://free.example.com:PORT {
	respond "no license needed"
}
`

func TestLicenseNamesSitesThatAreNotCovered(t *testing.T) {
	if apart(t) {
		return
	}
	v := newVendor(t)
	v.write(v.sign(0, asks("*.example.com")))
	g := prepare(t, "FILE", v.file(), "PUBLIC", v.public())
	_, port, _ := net.SplitHostPort(g.site)
	g.vars = append(g.vars, "PORT", port)
	if err := g.load(manySites); err != nil {
		t.Fatal(err)
	}
	const line = "the license does not cover all sites behind require_license"
	eventually(t, "the sites are named", func() bool { return strings.Contains(g.log(), line) })
	log := g.log()
	_, rest, _ := strings.Cut(log, line)
	rest, _, _ = strings.Cut(rest, "\n")
	if !strings.Contains(rest, `"sites":["b.example.org","one.example.net"]`) || strings.Count(log, line) != 1 {
		t.Errorf("got %q, want one warning with the two sites", rest)
	}
	v.write(v.sign(0, asks("*.example.com", "b.example.org", "*.example.net")))
	eventually(t, "the other license is in force", func() bool { return strings.Contains(g.log(), "another license is in force") })
	if n := strings.Count(g.log(), line); n != 1 {
		t.Errorf("got %d warnings, want no more: all sites are covered", n)
	}
}

func TestLicenseRequiredWithoutTrust(t *testing.T) {
	const issuer = "issuer https://login.example.com {\nname acme\naudience a\n}"
	for _, directive := range []string{"require_license", "@a license_feature sso\nrespond @a in", "@a expression `license_feature('sso')`\nrespond @a in"} {
		err := prepare(t).load(fmt.Sprintf("{\nGLOBALS\ngatehouse {\n%s\n}\n}\nhttp://SITE {\nbind 127.0.0.1\n%s\n}\n", issuer, directive))
		if err == nil || !strings.Contains(err.Error(), "no key is trusted to sign licenses: add `license { trusted_key") {
			t.Errorf("%s: got the error %v, want one that says what to add", directive, err)
		}
	}
}

func TestMatcherLicenseFeature(t *testing.T) {
	v := newVendor(t)
	some := asks("elsewhere.example.com") // the matcher asks for no host
	some.Features = []string{"sso", "audit"}
	v.write(v.sign(0, some))
	site := strings.Replace(sealable, "require_license\n\trespond \"in\"", `@both license_feature sso audit
	@more license_feature sso reports
	@cel expression `+"`license_feature('sso', 'audit')`"+`
	@celmore expression `+"`license_feature('reports')`"+`
	header @both +Match both
	header @more +Match more
	header @cel +Match cel
	header @celmore +Match celmore
	respond "in"`, 1)
	g := start(t, site, "LICENSE", "license {\nfile "+v.file()+"\ntrusted_key "+v.public()+"\n}")
	if got := strings.Join(g.get("/").header.Values("Match"), " "); got != "both cel" {
		t.Errorf("got %q, want both cel", got)
	}
	ended := license.Request{Type: license.OSS, AllowedHosts: []string{"x.org"}, Description: "ended", TTL: 1e9, Grace: seconds(0)}
	g.stop()
	v.write(v.sign(1e12, ended))
	if err := g.load(site); err != nil {
		t.Fatal(err)
	}
	if got := g.get("/").header.Values("Match"); len(got) > 0 {
		t.Errorf("got %q, want nothing: the license has ended", got)
	}
}
