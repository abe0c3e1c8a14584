package caddymodule_test

import (
	"crypto"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// vendor makes licenses, and keeps its key pair in a folder.
type vendor struct {
	t   testing.TB
	dir string
	key crypto.Signer
}

func newVendor(t testing.TB) *vendor {
	t.Helper()
	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	v := &vendor{t, t.TempDir(), key}
	if err := keyfile.Create(v.private(), key); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *vendor) private() string { return filepath.Join(v.dir, "vendor.key") }
func (v *vendor) public() string  { return v.private() + ".pub" }

// asks is a request for a license of an hour for some hosts.
func asks(hosts ...string) license.Request {
	return license.Request{Type: license.Enterprise, AllowedHosts: hosts, Description: "Acme Corp", TTL: time.Hour}
}

// sign makes a license as it would have been made some time ago.
func (v *vendor) sign(ago time.Duration, r license.Request) string {
	v.t.Helper()
	signer, err := license.NewSigner(license.SignerConfig{Key: v.key, Now: func() time.Time { return time.Now().Add(-ago) }})
	if err != nil {
		v.t.Fatal(err)
	}
	signed, err := signer.Sign(r)
	if err != nil {
		v.t.Fatal(err)
	}
	text, err := signed.Encode()
	if err != nil {
		v.t.Fatal(err)
	}
	return string(text)
}

// file writes a license to the file that the Caddyfiles of these tests name.
func (v *vendor) file() string { return filepath.Join(v.dir, "license.json") }

func (v *vendor) write(text string) {
	v.t.Helper()
	next := v.file() + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		v.t.Fatal(err)
	}
	if err := os.Rename(next, v.file()); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vendor) remove() {
	v.t.Helper()
	if err := os.Remove(v.file()); err != nil {
		v.t.Fatal(err)
	}
}

// seconds is a span as a member of a license.
func seconds(d time.Duration) *int64 {
	s := int64(d / time.Second)
	return &s
}
