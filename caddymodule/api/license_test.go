package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// inForce is a license in force, and what installing another one comes to.
type inForce struct {
	standing *license.Standing
	host     string
	err      error
	asked    []string
}

func (f *inForce) Standing() *license.Standing { return f.standing }
func (f *inForce) Host() string                { return f.host }

func (f *inForce) Install(_ context.Context, data []byte, host string) error {
	f.asked = append(f.asked, host+" "+string(data))
	return f.err
}

func licensedSite(t *testing.T, f *inForce) *site {
	return newSite(t, func(services *api.Services, _ *site) {
		services.License = f
		services.Operation.Version = "v1.2.3"
	})
}

func standingFor(t *testing.T, hosts ...string) *license.Standing {
	t.Helper()
	request := license.Request{Type: license.Enterprise, AllowedHosts: hosts, Description: "Acme Corp", TTL: 1000 * 3600e9, Features: []string{"sso"}}
	signed, err := vendorSigner().Sign(request)
	if err != nil {
		t.Fatal(err)
	}
	set, err := license.NewKeySet(license.TrustedKey{Key: vendorSigner().Public()})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := license.NewVerifier(license.Config{Keys: set})
	if err != nil {
		t.Fatal(err)
	}
	return verifier.Verify(signed)
}

func TestLicenseStatusIsAboutAHost(t *testing.T) {
	f := &inForce{standing: standingFor(t, "gw.acme.example"), host: "gw.acme.example"}
	s := licensedSite(t, f)
	anybody := s.token(map[string]any{"sub": "bob"})
	for _, c := range []struct{ query, own, verified, status string }{
		{"", "gw.acme.example", "gw.acme.example", "valid"},
		{"", "", "", "valid"},
		{"", "x.acme.example", "", "invalid"},
		{"?host=x.acme.example", "gw.acme.example", "", "invalid"},
		{"?host=gw.acme.example:8443", "x.acme.example", "gw.acme.example:8443", "valid"},
	} {
		f.host = c.own
		status := s.send(http.MethodGet, "/api/orgs/license"+c.query, "", anybody).object(t)
		if status["state"] != "valid" || status["is_valid"] != (c.status == "valid") || status["verified_host"] != c.verified {
			t.Errorf("%+v: got %v", c, status)
		}
		info := s.send(http.MethodGet, "/api/serverinfo"+c.query, "", anybody).object(t)
		short := info["license_info"].(map[string]any)
		if info["version"] != "v1.2.3" || short["status"] != c.status || short["type"] != "enterprise" {
			t.Errorf("%+v: got %v", c, info)
		}
	}
	s.send(http.MethodGet, "/api/orgs/license", "", header("Authorization")).fails(t, 401, "")
}

func TestWithoutALicense(t *testing.T) {
	s := newSite(t)
	status := s.send(http.MethodGet, "/api/orgs/license", "").object(t)
	if status["state"] != "missing" || status["is_valid"] != false || status["allowed_hosts"] == nil {
		t.Errorf("got %v", status)
	}
	info := s.send(http.MethodGet, "/api/serverinfo", "").object(t)["license_info"].(map[string]any)
	if info["status"] != "invalid" {
		t.Errorf("got %v", info)
	}
	s.send(http.MethodPut, "/api/orgs/license", "{}").fails(t, 409, "trusted_key")
}

func TestInstallWordsItsErrors(t *testing.T) {
	f := &inForce{standing: license.Missing("nowhere")}
	s := licensedSite(t, f)
	for _, c := range []struct {
		err     error
		status  int
		message string
		outcome string
	}{
		{nil, 204, "", "done"},
		{&license.Error{Reason: license.ReasonHost, Detail: "no host"}, 400, "no host", "refused"},
		{active.ErrConfigured, 409, "set in the configuration", "refused"},
		{active.ErrBusy, 503, "storage is out of reach", "failed"},
		{active.ErrClosed, 503, "storage is out of reach", "failed"},
		{errors.New("/secret/path is full"), 500, "internal error", "failed"},
	} {
		f.err = c.err
		got := s.send(http.MethodPut, "/api/orgs/license?host=h.example", "{}")
		if c.status == 204 {
			got.wants(t, 204, "")
		} else {
			got.fails(t, c.status, c.message)
		}
		if trail := s.trail(); !strings.HasSuffix(trail, "acme/alice license.install unreadable "+c.outcome+"\n") {
			t.Errorf("the audit log is %q, want the outcome %s", trail, c.outcome)
		}
	}
	if len(f.asked) != 6 || f.asked[0] != "h.example {}" {
		t.Errorf("asked for %q", f.asked)
	}
	s.send(http.MethodPut, "/api/orgs/license", "{}", s.signer()).fails(t, 403, "")
	s.send(http.MethodPut, "/api/orgs/license", strings.Repeat(" ", 64<<10+1)).fails(t, 413, "64 KiB")
}
