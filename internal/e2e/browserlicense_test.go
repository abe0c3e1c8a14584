package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/e2e/browser"
	"github.com/gatehouse-proxy/gatehouse/internal/e2e/oidcprovider"
	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// The vendor of a license, and a deployment that asks it for one: two servers with a
// storage each.
const (
	licenseVendor = `{
	admin off
	persist_config off
	auto_https off
	storage file_system STORAGE
	gatehouse {
		signing {
			key VENDORKEY
		}
		sso {
			product my-product
			credential key-1 shared-1
			account acme {
				issuer ISSUER
				client_id license-users
				redirect_uri http://127.0.0.1/callback
				license {
					hosts requested 127.0.0.1
					type enterprise
					features sso audit
					seats 5
					valid VALID
					claim groups license-users
					bind instance
				}
			}
		}
	}
}
http://SITE {
	bind 127.0.0.1
	gatehouse_api
}
`
	licensedSite = `{
	admin ADMIN
	persist_config off
	auto_https off
	storage file_system STORAGE
	gatehouse {
		license {
			trusted_key VENDORKEY.pub
			RENEW
		}
		api {
			trust_admin_endpoint
		}
	}
}
http://SITE {
	bind 127.0.0.1
	require_license
	respond "in"
}
`
)

// licensee is a deployment that has no license yet, its vendor, and the command.
type licensee struct {
	*testing.T
	binary, dir         string
	vendor, site, admin string // addresses
	page                *browser.Page
	ctx                 context.Context
	opened              string // the file that the stand-in for xdg-open writes to
}

// build makes the Caddy that this repository is.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "caddy")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/caddy")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func newLicensee(t *testing.T, binary, issuer string, pairs ...string) *licensee {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	l := &licensee{T: t, binary: binary, dir: t.TempDir(), ctx: ctx}
	key := filepath.Join(l.dir, "vendor.key")
	l.command("keygen", "--out", key)
	for _, place := range []*string{&l.vendor, &l.site, &l.admin} {
		address, err := freeport.Address()
		l.must(err)
		*place = address
	}
	pairs = append(pairs, "VALID", "30d", "RENEW", "", "VENDORKEY", key, "ISSUER", issuer)
	l.serve("vendor", strings.NewReplacer(append(pairs, "SITE", l.vendor)...).Replace(licenseVendor), l.vendor)
	site := strings.NewReplacer(append(pairs, "SITE", l.site, "ADMIN", l.admin)...).Replace(licensedSite)
	l.serve("site", strings.ReplaceAll(site, "http://VENDOR", "http://"+l.vendor), l.site)

	// What xdg-open would hand to a browser goes to that of the test.
	l.opened = filepath.Join(l.dir, "opened")
	l.must(os.WriteFile(filepath.Join(l.dir, "xdg-open"), []byte("#!/bin/sh\nprintf '%s' \"$1\" > '"+l.opened+".new' && mv '"+l.opened+".new' '"+l.opened+"'\n"), 0o700))

	page, tab, end, err := browser.Start(ctx, filepath.Join(l.dir, "profile"))
	l.must(err)
	t.Cleanup(end)
	l.page, l.ctx = page, tab
	return l
}

func (l *licensee) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// serve runs a server until the test ends.
func (l *licensee) serve(name, caddyfile, address string) {
	l.Helper()
	file := filepath.Join(l.dir, name+".Caddyfile")
	l.must(os.WriteFile(file, []byte(strings.ReplaceAll(caddyfile, "STORAGE", filepath.Join(l.dir, name))), 0o600))
	var log bytes.Buffer
	cmd := exec.CommandContext(l.ctx, l.binary, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env, cmd.Stderr = append(os.Environ(), "HOME="+l.dir, "XDG_DATA_HOME="+l.dir, "XDG_CONFIG_HOME="+l.dir), &log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	l.must(cmd.Start())
	l.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if l.Failed() {
			l.Logf("%s:\n%s", name, log.Bytes())
		}
	})
	for {
		if resp, err := http.Get("http://" + address); err == nil { //nolint:noctx // until the minute is over
			_ = resp.Body.Close()
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-l.ctx.Done():
			l.Fatalf("%s does not answer:\n%s", name, log.Bytes())
		}
	}
}

// prepare makes a command of gatehouse.
func (l *licensee) prepare(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(l.ctx, l.binary, append([]string{"gatehouse"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+l.dir+":"+os.Getenv("PATH"), "DISPLAY=:0", "HOME="+l.dir,
		"GATEHOUSE_VENDOR_API_KEY=key-1", "GATEHOUSE_VENDOR_SHARED_KEY=shared-1")
	return cmd
}

// command runs one that asks nobody, and gives what it prints.
func (l *licensee) command(args ...string) string {
	l.Helper()
	out, err := l.prepare(args...).CombinedOutput()
	if err != nil {
		l.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// logsIn runs a command while a person logs in to what it opens, and gives what it
// prints.
func (l *licensee) logsIn(person string, args ...string) (string, error) {
	l.Helper()
	_ = os.Remove(l.opened)
	var out bytes.Buffer
	cmd := l.prepare(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	l.must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	address := ""
	for address == "" {
		text, err := os.ReadFile(l.opened)
		address = string(text)
		select {
		case err := <-ended:
			return out.String(), err
		case <-time.After(10 * time.Millisecond):
		case <-l.ctx.Done():
			l.Fatalf("nothing was opened: %v\n%s", err, out.Bytes())
		}
	}
	l.must(l.page.Open(l.ctx, address))
	l.must(l.page.WaitFor(l.ctx, `document.querySelector("input[name=login]")`))
	l.must(l.page.Type(l.ctx, "input[name=login]", person))
	l.must(l.page.Type(l.ctx, "input[name=password]", "any"))
	l.must(l.page.Click(l.ctx, "button[type=submit]"))
	l.must(l.page.WaitFor(l.ctx, `document.querySelector("input[name=prompt][value=consent]")`))
	l.must(l.page.Click(l.ctx, "button[type=submit]"))
	l.must(l.page.WaitFor(l.ctx, `document.body.innerText.includes("You are logged in")`))
	var shown string
	l.must(l.page.Eval(l.ctx, `location.href`, &shown))
	if strings.Contains(shown, "id_token") {
		l.Error("the browser still shows the token: " + shown)
	}
	err := <-ended
	return out.String(), err
}

func (l *licensee) activate(more ...string) []string {
	return append([]string{"license", "activate", "--address", l.admin, "--server", "http://" + l.vendor, "--product", "my-product", "--account", "acme", "--host", "127.0.0.1"}, more...)
}

// passes reports whether the deployment lets a request pass.
func (l *licensee) passes() bool {
	l.Helper()
	resp, err := http.Get("http://" + l.site) //nolint:noctx // answered at once
	l.must(err)
	defer resp.Body.Close() //nolint:errcheck // a test
	return resp.StatusCode == http.StatusOK
}

// TestBrowserLicenseActivation: a person logs in at a provider that is not ours, in a real
// browser, and the license is in force: by a code, by an ID token, and for a server
// without a network.
func TestBrowserLicenseActivation(t *testing.T) {
	binary := build(t)
	issuer := oidcprovider.StartPeople(t, "license-users", "http://127.0.0.1/callback", "license-users")
	for _, flow := range []string{"code", "id_token"} {
		t.Run(flow, func(t *testing.T) {
			l := newLicensee(t, binary, issuer)
			if l.passes() {
				t.Fatal("it passes without a license")
			}
			out, err := l.logsIn("ada", l.activate("--flow", flow)...)
			if err != nil || !strings.Contains(out, "127.0.0.1") || !strings.Contains(out, "Instance") {
				t.Fatalf("%v\n%s", err, out)
			}
			if !l.passes() {
				t.Fatal("the license is not in force")
			}
			if flow == "code" {
				l.refusesStrangers()
				l.givesBack()
			}
		})
	}
	t.Run("renewal", func(t *testing.T) {
		l := newLicensee(t, binary, issuer, "VALID", "1m", "RENEW", "renew http://VENDOR {\n product my-product\n credential key-1 shared-1\n}")
		if out, err := l.logsIn("ada", l.activate()...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		first := l.expires()
		for l.expires() == first {
			select {
			case <-time.After(time.Second):
			case <-l.ctx.Done():
				t.Fatal("the license is not renewed")
			}
		}
		if out := l.command("status", "--address", l.admin); !strings.Contains(out, "Renewal") || strings.Contains(out, "came to nothing") || !l.passes() {
			t.Error(out)
		}
	})
	t.Run("offline", func(t *testing.T) {
		l := newLicensee(t, binary, issuer)
		request, response := filepath.Join(l.dir, "request.json"), filepath.Join(l.dir, "response.json")
		l.command("license", "activate", "--address", l.admin, "--offline", request, "--product", "my-product", "--account", "acme", "--host", "127.0.0.1")
		out, err := l.logsIn("ada", "license", "activate", "--offline", request, "--response", response, "--server", "http://"+l.vendor)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if l.passes() {
			t.Fatal("it passes before the response is there")
		}
		l.command("license", "activate", "--address", l.admin, "--offline", request, "--response", response)
		if !l.passes() {
			t.Fatal("the license is not in force")
		}
		file := filepath.Join(l.dir, "license.json")
		l.command("license", "activate", "--offline", request, "--response", response, "--out", file)
		text, err := os.ReadFile(file)
		l.must(err)
		written, err := license.Decode(text)
		l.must(err)
		if written.Payload.ExpireAt != l.expires() {
			t.Errorf("wrote a license until %d, installed one until %d", written.Payload.ExpireAt, l.expires())
		}
		other := filepath.Join(l.dir, "other.json")
		l.command("license", "activate", "--address", l.admin, "--offline", other, "--product", "my-product", "--account", "acme")
		if out, err := l.prepare("license", "activate", "--address", l.admin, "--offline", other, "--response", response).CombinedOutput(); err == nil || !strings.Contains(string(out), "another request") {
			t.Errorf("the response to another request is taken: %v\n%s", err, out)
		}
	})
}

// expires is the end of the license in force, in Unix seconds.
func (l *licensee) expires() (end int64) {
	l.Helper()
	resp, err := http.Get("http://" + l.admin + "/api/orgs/license") //nolint:noctx // answered at once
	l.must(err)
	defer resp.Body.Close() //nolint:errcheck // a test
	var status struct {
		ExpireAt int64 `json:"expire_at"`
	}
	l.must(json.NewDecoder(resp.Body).Decode(&status))
	return status.ExpireAt
}

// refusesStrangers: who is not in the account's group gets no license.
func (l *licensee) refusesStrangers() {
	l.Helper()
	l.must(l.page.Open(l.ctx, "about:blank"))
	l.must(l.page.Forget(l.ctx))
	if out, err := l.logsIn("stranger", l.activate()...); err == nil || !strings.Contains(out, "user_not_allowed") {
		l.Errorf("a stranger: %v\n%s", err, out)
	}
}

// givesBack: the seat is given back, once.
func (l *licensee) givesBack() {
	l.Helper()
	deactivate := []string{"license", "deactivate", "--address", l.admin, "--server", "http://" + l.vendor, "--product", "my-product"}
	if out := l.command(deactivate...); !strings.Contains(out, "given back") {
		l.Error(out)
	}
	if out, err := l.prepare(deactivate...).CombinedOutput(); err == nil || !strings.Contains(string(out), "license_not_found") {
		l.Errorf("again: %v\n%s", err, out)
	}
}
