package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// activeLicense is a license in force, and what installing another one comes to.
type activeLicense struct {
	validity *license.Validity
	host     string
	err      error
	asked    []string
}

func (f *activeLicense) Validity() *license.Validity { return f.validity }
func (f *activeLicense) Host() string                { return f.host }

func (f *activeLicense) OpenResponse([]byte, string) (*license.OfflineResponse, error) {
	return nil, f.err
}

func (f *activeLicense) Instance(context.Context) (*active.Instance, error) { return nil, f.err }

func (f *activeLicense) Install(_ context.Context, data []byte, host string) error {
	f.asked = append(f.asked, host+" "+string(data))
	return f.err
}

func licensedSite(t *testing.T, f *activeLicense) *site {
	return newSite(t, func(services *api.Services, _ *site) {
		services.License = f
		services.Operation.Version = "v1.2.3"
	})
}

func validityFor(t *testing.T, hosts ...string) *license.Validity {
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
	f := &activeLicense{validity: validityFor(t, "gw.acme.example"), host: "gw.acme.example"}
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
	f := &activeLicense{validity: license.Missing("nowhere")}
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

var vendorSigner = sync.OnceValue(func() *license.Signer {
	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		panic(err)
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: key, MaxTTL: 17520 * time.Hour})
	if err != nil {
		panic(err)
	}
	return signer
})

// signing lets the site sign and record.
func signing(services *api.Services, s *site) {
	services.Sign = vendorSigner().Sign
	services.Signed = active.NewRecord(s.storage.Node(), active.Options{WriteLimit: 200 * time.Millisecond})
	services.OnSigned = func(actor string, e active.Entry) {
		s.audit(api.AuditEntry{Actor: actor, Action: "signed", Target: e.ID, Outcome: e.License.Payload.Description})
	}
}

func (s *site) signer() edit {
	return s.token(map[string]any{"sub": "sam", "groups": []string{"signers"}})
}

// signBody is a good body with some members replaced; null leaves one out.
func signBody(members ...string) string {
	body := map[string]json.RawMessage{
		"license_type": json.RawMessage(`"enterprise"`), "allowed_hosts": json.RawMessage(`["gw.acme.example"]`),
		"description": json.RawMessage(`"Acme Corp"`), "expire_at": json.RawMessage(`"8640h"`),
	}
	for _, member := range members {
		name, value, _ := strings.Cut(member, "=")
		body[name] = json.RawMessage(value)
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(text)
}

const signPath = "/api/orgs/license/sign"

func TestSignedLicenseVerifiesAndIsRecorded(t *testing.T) {
	s := newSite(t, signing)
	set, err := license.NewKeySet(license.TrustedKey{Key: vendorSigner().Public()})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := license.NewVerifier(license.Config{Keys: set})
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range []string{
		signBody(),
		signBody(`expire_at="365d"`, `features=["sso","audit"]`, `limits={"seats":50}`, `environment="production"`, `grace=0`, `issuer="Vendor"`,
			fmt.Sprintf(`not_before=%d`, time.Now().Unix()-5), `version=2`, `id="5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11"`),
		signBody(`features=null`),
	} {
		got := s.send(http.MethodPost, signPath, body, s.signer())
		if got.status != 200 || got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("got %d %v %q", got.status, got.header, got.body)
		}
		if err := verifier.Open([]byte(got.body)).Check("gw.acme.example", "sso"); err != nil {
			t.Errorf("%d: it does not verify: %v", i, err)
		}
	}
	s.checkRecord(t)
	trail := s.trail()
	if n := strings.Count(trail, "acme/sam license.sign "); n != 3 || strings.Count(trail, "done") != 3 || strings.Count(trail, " signed ") != 3 {
		t.Errorf("the audit log is %q", trail)
	}
}

// checkRecord wants three licenses, newest first, page by page.
func (s *site) checkRecord(t *testing.T) {
	t.Helper()
	var after string
	for range 3 {
		page := s.page(t, "?limit=1&after="+after)
		if len(page) != 1 || page[0].Actor != "acme/sam" || page[0].KeyID != vendorSigner().KeyID() || page[0].License.Payload.Description != "Acme Corp" {
			t.Fatalf("got %+v", page)
		}
		if after != "" && page[0].ID >= after {
			t.Errorf("%s is not older than %s", page[0].ID, after)
		}
		after = page[0].ID
	}
	if rest := s.page(t, "?limit=1&after="+after); len(rest) > 0 {
		t.Errorf("got %+v, want no more", rest)
	}
	if all := s.page(t, ""); len(all) != 3 {
		t.Errorf("got %d, want 3", len(all))
	}
}

type shownEntry struct {
	ID, Actor string
	KeyID     string    `json:"key_id"`
	SignedAt  time.Time `json:"signed_at"`
	License   *license.License
}

func (s *site) page(t *testing.T, query string) []shownEntry {
	t.Helper()
	var page struct{ Licenses []shownEntry }
	got := s.send(http.MethodGet, "/api/orgs/licenses"+query, "", s.signer())
	if err := json.Unmarshal([]byte(got.body), &page); err != nil || got.status != 200 || page.Licenses == nil {
		t.Fatalf("got %d %q, %v", got.status, got.body, err)
	}
	return page.Licenses
}

func TestSignRefusesBadFields(t *testing.T) {
	s := newSite(t, signing)
	long := strings.Repeat("x", 201)
	for _, c := range []struct{ body, names string }{
		{signBody(`license_type="gold"`), "license_type"},
		{signBody(`license_type=null`), "license_type"},
		{signBody(`license_type=1`), "license_type"},
		{signBody(`allowed_hosts=[]`), "allowed_hosts"},
		{signBody(`allowed_hosts=null`), "allowed_hosts"},
		{signBody(`allowed_hosts="a.org"`), "allowed_hosts"},
		{signBody(`allowed_hosts=[null]`), "allowed_hosts"},
		{signBody(`allowed_hosts=["a.org","https://b.org"]`), "allowed_hosts[1]"},
		{signBody(`allowed_hosts=["a.org,b.org"]`), "allowed_hosts"},
		{signBody(`allowed_hosts=["*.co.uk"]`), "allowed_hosts"},
		{signBody(`allowed_hosts=["a.org:8443"]`), "allowed_hosts"},
		{signBody(`description="x"`), "description"},
		{signBody(`description="` + long + `"`), "description"},
		{signBody(`description="a\u0000b"`), "description"},
		{signBody(`expire_at=null`), "expire_at"},
		{signBody(`expire_at="0s"`), "expire_at"},
		{signBody(`expire_at="-1h"`), "expire_at"},
		{signBody(`expire_at="17521h"`), "expire_at"},
		{signBody(`expire_at="soon"`), "expire_at"},
		{signBody(`expire_at=3600`), "expire_at"},
		{signBody(`features=["SSO"]`), "features"},
		{signBody(`features=["a b"]`), "features"},
		{signBody(`version=3`), "version"},
		{signBody(`version=1`), "version"}, // not with an Ed25519 key
		{signBody(`id="x"`), "id"},
		{signBody(`grace=-1`), "grace"},
		{signBody(`grace="1h"`), "grace"},
		{signBody(`not_before=9007199254740993`), "not_before"},
		{signBody(`limits={"seats":null}`), "limits"},
		{signBody(`limits={"seats":1.5}`), "limits"},
		{signBody(`environment="` + long + `"`), "environment"},
		{signBody(`issuer="` + long + `"`), "issuer"},
		{signBody(`allowed_hosts="a.org"`), "member allowed_hosts is of the wrong type"},
		{signBody(`allowed_hosts=["a.org",1]`), "member allowed_hosts is of the wrong type"},
		{signBody(`grace="1h"`), "member grace is of the wrong type"},
		{signBody(`version=1.0`), "member version is of the wrong type"},
		{signBody(`limits={"seats":"many"}`), "member limits is of the wrong type"},
		{signBody(`limits={"seats":1,"seats":2}`), "member limits is repeated; want it once"},
		{signBody(`limits={"seats":null}`), "found null, want an integer for each name"},
		{signBody(`Description="again"`), "member Description is unknown; want license_type, allowed_hosts, description, expire_at, " +
			"features, version, id, not_before, grace, issuer, limits, enforcement, instance or environment"},
		{`{"license_type":"oss","license_type":"enterprise"}`, "member license_type is repeated"},
		{`[]`, "the body is not a JSON object"},
		{`null`, "the body is not a JSON object"},
		{`{`, "not valid JSON"},
		{"", "not valid JSON"},
		{signBody() + signBody(), "not valid JSON"},
		{"{\"description\":\"\xff\"}", "not valid JSON"},
	} {
		got := s.send(http.MethodPost, signPath, c.body, s.signer())
		got.fails(t, http.StatusBadRequest, c.names)
		if t.Failed() {
			t.Fatalf("the body was %.200s", c.body)
		}
	}
	s.send(http.MethodPost, signPath, signBody(), s.signer(), header("Content-Type", "text/plain")).fails(t, 400, "content type")
	if all := s.page(t, ""); len(all) > 0 {
		t.Errorf("something was recorded: %+v", all)
	}
}

// TestSignTakesNullAsLeftOut holds for every member that may be left out.
func TestSignTakesNullAsLeftOut(t *testing.T) {
	s := newSite(t, signing)
	nulls := []string{"features=null", "version=null", "id=null", "not_before=null", "grace=null", "issuer=null", "limits=null", "enforcement=null", "instance=null", "environment=null"}
	for _, body := range []string{signBody(nulls...), signBody("limits={}", "features=[]")} {
		if got := s.send(http.MethodPost, signPath, body, s.signer()); got.status != 200 {
			t.Errorf("got %d %q of %s", got.status, got.body, body)
		}
	}
}

func TestSignAsksForKeyGroupAndStorage(t *testing.T) {
	s := newSite(t, signing)
	s.send(http.MethodPost, signPath, signBody()).fails(t, 403, "") // an administrator is no signer
	s.send(http.MethodPost, signPath, signBody(), header("Authorization", "Bearer x")).fails(t, 401, "")
	s.send(http.MethodGet, "/api/orgs/licenses", "").fails(t, 403, "")
	s.send(http.MethodGet, "/api/orgs/licenses?after=x", "", s.signer()).fails(t, 422, "after")
	s.send(http.MethodGet, "/api/orgs/licenses?limit=0", "", s.signer()).fails(t, 422, "limit")
	if got := s.send(http.MethodGet, signPath, ""); got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("got %d, Allow %q", got.status, got.header.Get("Allow"))
	}
	s.takeStorageDown()
	got := s.send(http.MethodPost, signPath, signBody(), s.signer())
	got.fails(t, 503, "storage is out of reach")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if strings.Contains(got.body, "signature") {
		t.Errorf("a license that is not recorded was handed out: %s", got.body)
	}

	keyless := newSite(t)
	keyless.send(http.MethodPost, signPath, signBody(), keyless.signer()).wants(t, 400, `{"message":"unable to sign license: missing private key"}`+"\n")
	broken := newSite(t, signing, func(services *api.Services, _ *site) {
		services.Sign = func(license.Request) (*license.License, error) { return nil, fmt.Errorf("the key service is away") }
	})
	broken.send(http.MethodPost, signPath, signBody(), broken.signer()).wants(t, 500, `{"message":"internal error"}`+"\n")
	if trail := broken.trail(); !strings.Contains(trail, "acme/sam license.sign Acme Corp failed") {
		t.Errorf("the audit log is %q", trail)
	}
}
