package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/caddymodule"
)

const sealable = `{
	GLOBALS
	gatehouse {
		issuer https://login.example.com {
			name acme
			audience https://gateway.example.com
		}
		LICENSE
	}
}
http://SITE {
	bind 127.0.0.1
	require_license
	respond "in"
}
`

func (v *vendor) seal(t *testing.T) {
	t.Helper()
	pem, err := os.ReadFile(v.public())
	if err != nil {
		t.Fatal(err)
	}
	caddymodule.Seal(t, pem)
}

func TestSealedBuildTrustsItsOwnKeysOnly(t *testing.T) {
	ours, other := newVendor(t), newVendor(t)
	ours.seal(t)
	g := start(t, sealable, "LICENSE", "license {\nfile "+ours.file()+"\nmissing deny\nenforcement deny\nwarn 1m\n}")
	ours.write(other.sign(0, asks("127.0.0.1")))
	if got := g.get("/"); got.status != 403 {
		t.Errorf("got %d, want 403: the license is of another vendor", got.status)
	}
	ours.write(ours.sign(0, asks("127.0.0.1")))
	eventually(t, "the vendor's own license is in force", func() bool { return g.get("/").status == 200 })
}

func TestSealedBuildNeedsNoOption(t *testing.T) {
	ours := newVendor(t)
	ours.seal(t)
	g := start(t, sealable, "LICENSE", "")
	if got := g.get("/"); got.status != 403 {
		t.Errorf("got %d, want 403: there is no license", got.status)
	}
}

// A configuration cannot turn a sealed build's refusal into an answer.
func TestSealedBuildRefusesByItself(t *testing.T) {
	ours := newVendor(t)
	ours.seal(t)
	g := start(t, sealable+`
http://SECOND {
	bind 127.0.0.1
	require_license
	respond "in"
	handle_errors {
		respond "served" 200
	}
}
`, "LICENSE", "")
	got := g.do(g.client, http.MethodGet, "http://"+g.second+"/")
	if got.status != 403 || got.body != "there is no license\n" || got.header.Get("Gatehouse-Reason") != "license_missing" {
		t.Errorf("got %d %q, want 403 and the reason", got.status, got.body)
	}
}

func TestSealedBuildRefusesWhatWeakensIt(t *testing.T) {
	ours := newVendor(t)
	ours.seal(t)
	for option, name := range map[string]string{
		"trusted_key " + ours.public():                    "trusted_key",
		"trusted_key " + ours.public() + " {\nrevoked\n}": "trusted_key",
		"missing allow":   "missing allow",
		"enforcement log": "enforcement log",
		"grace 1h":        "grace",
		"grace 0s":        "grace",
	} {
		err := prepare(t).load(strings.Replace(sealable, "LICENSE", "license {\n"+option+"\n}", 1))
		if err == nil || !strings.Contains(err.Error(), name+": this build is sealed") || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: got the error %v, want one that says that the build is sealed, and the line", option, err)
		}
	}
	for member, name := range map[string]string{
		`"trusted_keys": [{"file": "/x.pub", "revoked": true}]`: "trusted_key",
		`"missing": "allow"`:   "missing allow",
		`"enforcement": "log"`: "enforcement log",
		`"grace": "0s"`:        "grace",
	} {
		err := prepare(t).loadJSON(fmt.Appendf(nil, `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"gatehouse": {
			"issuers": [{"issuer": "https://a.example.com", "audiences": ["a"]}], "license": {%s}}}}`, member))
		if err == nil || !strings.Contains(err.Error(), name+": this build is sealed") {
			t.Errorf("%s: got the error %v, want one that says that the build is sealed", member, err)
		}
	}
}
