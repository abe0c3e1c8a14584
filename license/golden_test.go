package license

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
)

const (
	goldenText = "enterprise:1767225600:1798761600:*.johnwick.org,johnwick.org:Acme: prod:data-masking,runbooks"

	goldenCanonical = "gatehouse-license/v2\n" +
		`{"key_id":"f627310bff867103cc2fbe1272a7510250f8f54c7548c8f90fc22810836d7f29","payload":{` +
		`"allowed_hosts":["bücher.example","2001:db8::1"],"crit":["grace"],"description":"Müller & Söhne <prod>:eu € 😀",` +
		`"environment":"production","expire_at":1798761600,"features":["*"],"grace":0,"id":"5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11",` +
		`"issued_at":1767225600,"issuer":"Gatehouse","limits":{"Seats":-9007199254740992,"seats":25},"not_before":1767312000,"type":"enterprise","v":2}}`
)

// The licenses of testdata were signed by openssl, with the envelope and payload
// in hoop's order (version 1) and in reverse (version 2).
func TestVerifiesOthersLicenses(t *testing.T) {
	v := newVerifier(t, at(expires-1), Config{})
	for _, name := range []string{"v1-salt-32", "v1-salt-max", "v2-rsa", "v2-ed25519", "v2-ecdsa"} {
		t.Run(name, func(t *testing.T) {
			data := readFile(t, name+".json")
			if s := v.Open(data); s.Err() != nil {
				t.Fatal(s.Err())
			}
			// As another program may have kept it: members sorted, indented.
			sorted, err := jcs.Transform(data)
			if err != nil {
				t.Fatal(err)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, sorted, "\t", "   "); err != nil {
				t.Fatal(err)
			}
			for _, again := range [][]byte{sorted, indented.Bytes()} {
				if s := v.Open(again); s.Err() != nil {
					t.Errorf("in another order: %v", s.Err())
				}
			}
		})
	}
}

// Licenses that Gatehouse signed earlier are still believed, and still written the
// same way.
func TestVerifiesEarlierLicenses(t *testing.T) {
	v := newVerifier(t, at(expires-1), Config{})
	for _, name := range keyNames {
		data := readFile(t, "signed-"+name+".json")
		s := v.Open(data)
		if s.Err() != nil {
			t.Errorf("%s: %v", name, s.Err())
			continue
		}
		if again := mustEncode(t, s.License()); !bytes.Equal(again, data) {
			t.Errorf("%s: written as\n%s\nbefore as\n%s", name, again, data)
		}
	}
}

// hoop writes the envelope as payload, key_id, signature, and the payload as
// type, issued_at, expire_at, allowed_hosts, description, features.
func TestGoldenIsInHoopsOrder(t *testing.T) {
	data := string(readFile(t, "v1-salt-max.json"))
	last := -1
	for _, name := range []string{"payload", "type", "issued_at", "expire_at", "allowed_hosts", "description", "features", "key_id", "signature"} {
		i := strings.Index(data, `"`+name+`":`)
		if i < last {
			t.Errorf("%s stands too early", name)
		}
		last = i
	}
}

// A version-1 license made here is exactly the documented bytes, signed with
// RSASSA-PSS, SHA-256 and a salt of 32 bytes.
func TestVersion1IsByteExact(t *testing.T) {
	l := mustSign(t, newSigner(t, "rsa", at(issued)), request())
	sig, err := base64.StdEncoding.DecodeString(l.Signature)
	if err != nil {
		t.Fatal(err)
	}
	pub := testKey(t, "rsa").Public().(*rsa.PublicKey)
	digest := sha256.Sum256([]byte(goldenText))
	if err := rsa.VerifyPSS(pub, crypto.SHA256, digest[:], sig, &rsa.PSSOptions{SaltLength: 32}); err != nil {
		t.Errorf("no signature of %q with salt 32: %v", goldenText, err)
	}
	golden, err := Decode(readFile(t, "v1-salt-32.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(golden.Payload, l.Payload) || golden.KeyID != l.KeyID {
		t.Errorf("%+v, want %+v", l, golden)
	}
	want := `{"type":"enterprise","issued_at":1767225600,"expire_at":1798761600,"allowed_hosts":["*.johnwick.org","johnwick.org"],` +
		`"description":"Acme: prod","features":["data-masking","runbooks"]}`
	if got := mustJSON(t, l.Payload); got != want {
		t.Errorf("payload %s, want %s", got, want)
	}
}

// The salt of openssl's "max" is longer than ours, so that verifying any salt is
// really tried.
func TestMaxSaltIsAnother(t *testing.T) {
	l, err := Decode(readFile(t, "v1-salt-max.json"))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := decodeSignature(l.Signature)
	if err != nil {
		t.Fatal(err)
	}
	pub := testKey(t, "rsa").Public().(*rsa.PublicKey)
	digest := sha256.Sum256([]byte(goldenText))
	if rsa.VerifyPSS(pub, crypto.SHA256, digest[:], sig, &rsa.PSSOptions{SaltLength: 32}) == nil {
		t.Error("verifies with salt 32")
	}
	if err := rsa.VerifyPSS(pub, crypto.SHA256, digest[:], sig, &rsa.PSSOptions{SaltLength: 256 - 32 - 2}); err != nil {
		t.Errorf("with the greatest salt: %v", err)
	}
}

func TestVersion2IsByteExact(t *testing.T) {
	l, err := Decode(readFile(t, "v2-ed25519.json"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := signedBytes(l.KeyID, &l.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != goldenCanonical {
		t.Errorf("signed bytes\n%s\nwant\n%s", data, goldenCanonical)
	}
	p := l.Payload
	again := mustSign(t, newSigner(t, "ed25519", at(issued)), Request{
		Type: p.Type, AllowedHosts: p.AllowedHosts, Description: p.Description, TTL: (expires - issued - backdate) * time.Second, Features: p.Features,
		ID: p.ID, NotBefore: p.NotBefore, Grace: p.Grace, Issuer: p.Issuer, Limits: p.Limits, Environment: p.Environment, Crit: p.Crit,
	})
	if !reflect.DeepEqual(again, l) {
		t.Errorf("Ed25519 signs the same payload to %+v, want %+v", again, l)
	}
}
