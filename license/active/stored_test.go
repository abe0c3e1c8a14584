package active

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// TestReadsEarlierStorage: what Gatehouse kept earlier, as testdata/storage holds
// it, is read and gone on with: the license, the time and the record of signatures.
func TestReadsEarlierStorage(t *testing.T) {
	path := t.TempDir()
	must(t, os.CopyFS(path, os.DirFS("testdata/storage")))
	storage := &certmagic.FileStorage{Path: path}
	now := func() time.Time { return time.Unix(1767229200, 0).Add(time.Minute) }

	data, err := os.ReadFile("../testdata/ecdsa.pem")
	must(t, err)
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	keys, err := license.NewKeySet(license.TrustedKey{Key: key.(crypto.Signer).Public()})
	must(t, err)
	v, err := license.NewVerifier(license.Config{Keys: keys, Now: now})
	must(t, err)

	k, err := New(Config{Verifier: v}, Options{Now: now})
	must(t, err)
	defer func() { _ = k.Close() }()
	defer k.Attach(Host{Storage: storage})()
	must(t, k.Await(t.Context()))
	wantState(t, k, license.StateValid)
	wantCustomer(t, k, "Acme: prod")
	await(t, "the time moves on", func() bool {
		kept, err := storage.Load(t.Context(), clockKey)
		return err == nil && string(kept) == `{"highest":1767229260}`
	})

	r := NewRecord(storage, Options{Now: now})
	signed := k.Validity().License()
	added, err := r.Add(t.Context(), Entry{Actor: "bob", License: signed})
	must(t, err)
	entries, err := r.List(t.Context(), "", 0)
	must(t, err)
	if len(entries) != 2 || entries[0].ID != added.ID {
		t.Fatalf("entries %+v", entries)
	}
	e := entries[1]
	if e.Err != nil || e.Actor != "alice" || e.ActorIssuer != "https://login.johnwick.org" ||
		e.Time.Unix() != 1767229200 || e.KeyID != signed.KeyID || e.License.Signature != signed.Signature {
		t.Errorf("the entry of earlier: %+v", e)
	}
}
