package caddymodule_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// signElsewhere makes a license of version 2 as another tool could, which holds
// host patterns against nothing.
func (v *vendor) signElsewhere(hosts ...string) string {
	v.t.Helper()
	id, err := license.KeyID(v.key.Public())
	if err != nil {
		v.t.Fatal(err)
	}
	now := time.Now().Unix()
	unsigned := map[string]any{"key_id": id, "payload": map[string]any{
		"v": 2, "type": "enterprise", "issued_at": now - 60, "expire_at": now + 3600,
		"allowed_hosts": hosts, "description": "Acme Corp", "id": "5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11",
	}}
	text, err := json.Marshal(unsigned)
	if err != nil {
		v.t.Fatal(err)
	}
	canonical, err := jcs.Transform(text)
	if err != nil {
		v.t.Fatal(err)
	}
	signature, err := v.key.Sign(nil, append([]byte("gatehouse-license/v2\n"), canonical...), crypto.Hash(0))
	if err != nil {
		v.t.Fatal(err)
	}
	unsigned["signature"] = base64.StdEncoding.EncodeToString(signature)
	if text, err = json.Marshal(unsigned); err != nil {
		v.t.Fatal(err)
	}
	return string(text)
}

// The rows of the vectors that are refused at signing. Signed elsewhere, a bad
// pattern matches nothing and costs the others nothing; a public suffix matches,
// because a signed license must not change its meaning with a list that moves.
func TestLicenseHostVectorsSignedElsewhere(t *testing.T) {
	data, err := os.ReadFile("../license/testdata/hosts.tsv")
	if err != nil {
		t.Fatal(err)
	}
	v := newVendor(t)
	signer, err := license.NewSigner(license.SignerConfig{Key: v.key})
	if err != nil {
		t.Fatal(err)
	}
	g := prepare(t)
	_, port, _ := net.SplitHostPort(g.site)
	g.vars = append(g.vars, "PORT", port)
	rows := 0
	for line := range strings.Lines(string(data)) {
		row := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if strings.HasPrefix(line, "#") || len(row) < 3 || row[2] != "badpat" && row[2] != "nosign" {
			continue
		}
		rows++
		pattern, host, verdict := row[0], row[1], row[2]
		if _, err := signer.Sign(asks(pattern, "covered.example")); err == nil {
			t.Errorf("%q was signed", pattern)
		}
		g.stop() // so that no other license was ever known
		v.write(v.signElsewhere(pattern, "covered.example"))
		if err := g.load(anyHost(v)); err != nil {
			t.Fatal(err)
		}
		if got := g.ask(t, "covered.example"); got != http.StatusOK {
			t.Errorf("%q beside another pattern: that one got %d, want 200", pattern, got)
		}
		got := g.ask(t, host)
		if verdict == "nosign" && got != http.StatusOK {
			t.Errorf("%q, Host %q: got %d, want 200", pattern, host, got)
		}
		if verdict == "badpat" && got != http.StatusForbidden && got != http.StatusBadRequest {
			t.Errorf("%q, Host %q: got %d, want it refused", pattern, host, got)
		}
	}
	if rows < 10 {
		t.Errorf("found %d rows, want all of them", rows)
	}
}
