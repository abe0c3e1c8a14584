package jose

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"testing"
)

func TestDecode(t *testing.T) {
	good := []byte("eyJhbGciOiJFUzI1NiJ9.e30.AAECAw")
	var c Compact
	if !c.Decode(good) {
		t.Fatal("a good JWS cannot be read")
	}
	if string(c.Header) != `{"alg":"ES256"}` || string(c.Payload) != "{}" || !bytes.Equal(c.Signature, []byte{0, 1, 2, 3}) || string(c.Signed) != "eyJhbGciOiJFUzI1NiJ9.e30" {
		t.Errorf("got %q", c)
	}
	for _, bad := range []string{
		"", ".", "..", "a.b", "e30.e30", "e30..AAEC", "e30.e30.", ".e30.AAEC", "e30.e30.AAEC.AAEC", "e30.e30.AAEC.",
		"e30=.e30.AAEC", "e30.e3 0.AAEC", "e30.e30.AAEC\n", "e\r30.e30.AAEC", "e31.e30.AAED+", "e30.e30.AAECAx", "é30.e30.AAEC",
	} {
		if c.Decode([]byte(bad)) {
			t.Errorf("%q is taken", bad)
		}
	}
}

// What is decoded into the room behind the text never writes over the text.
func TestDecodeLeavesTheText(t *testing.T) {
	text := append(make([]byte, 0, 4096), "eyJhbGciOiJFUzI1NiJ9.e30.AAECAw"...)
	before := string(text)
	var c Compact
	if !c.Decode(text) || string(text) != before || string(c.Signed) != "eyJhbGciOiJFUzI1NiJ9.e30" {
		t.Errorf("the text is %q now", text)
	}
	if n := testing.AllocsPerRun(100, func() { c.Decode(text) }); n != 0 {
		t.Errorf("%v allocations, expected none", n)
	}
}

func TestAppendBase64URL(t *testing.T) {
	for s, want := range map[string]string{"Zg": "f", "Zm8": "fo", "Zm9v": "foo", "-_-_": "\xfb\xff\xbf"} {
		got, whole, ok := AppendBase64URL([]byte("before"), []byte(s))
		if !ok || string(got) != want || string(whole) != "before"+want {
			t.Errorf("%q: got %q, %t; expected %q", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "Z", "Zg==", "Zh", "Zm9", "+/+/", "Zm9v\n", "Z\rg", "Zm 9v", "Zm9v.", "Zé"} {
		if got, _, ok := AppendBase64URL(nil, []byte(s)); ok {
			t.Errorf("%q: got %q, expected a refusal", s, got)
		}
	}
}

func TestRead(t *testing.T) {
	var r Reader
	o, err := r.Read([]byte(` {"a": "x", "b\u0061": [1, {"c": null}], "d": 7, "e": "\n"} `), nil)
	if err != nil || len(o) != 4 {
		t.Fatalf("%q, %v", o, err)
	}
	for name, want := range map[string]string{"a": `"x"`, "ba": `[1, {"c": null}]`, "d": "7", "e": `"\n"`} {
		if value, ok := o.Get(name); !ok || string(value) != want {
			t.Errorf("%s is %s", name, value)
		}
	}
	if text, ok := o.Text("e"); !ok || string(text) != "\n" {
		t.Errorf("the text of e is %q", text)
	}
	if _, ok := o.Text("d"); ok {
		t.Error("a number is taken for a text")
	}
	if text, ok := o.Text("absent"); !ok || text != nil {
		t.Error("an absent member is no empty text")
	}
	for text, want := range map[string]error{
		``: ErrNotObject, `{`: ErrNotObject, `[]`: ErrNotObject, `"a"`: ErrNotObject, `null`: ErrNotObject, `{} {}`: ErrNotObject, `{}x`: ErrNotObject,
		`{"a":1,}`: ErrNotObject, "{\"a\":\"\xff\"}": ErrNotObject, `{"a":"\ud800"}`: ErrNotObject, "\xef\xbb\xbf{}": ErrNotObject,
		`{"a":1,"a":2}`: ErrRepeated, `{"a":1,"\u0061":2}`: ErrRepeated, `{"a":{"b":1,"b":1}}`: ErrRepeated, `{"a":[{"b":1,"b":1}]}`: ErrRepeated,
	} {
		if _, err := r.Read([]byte(text), nil); !errors.Is(err, want) {
			t.Errorf("%q: %v, expected %v", text, err, want)
		}
	}
}

// FuzzDecode: what is taken apart is what the parts say, and in one spelling only.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"eyJhbGciOiJFUzI1NiJ9.e30.AAECAw", "..", "e30.e30.AAEC\n", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var c Compact
		if !c.Decode(bytes.Clone(text)) {
			return
		}
		e := base64.RawURLEncoding
		again := e.EncodeToString(c.Header) + "." + e.EncodeToString(c.Payload) + "." + e.EncodeToString(c.Signature)
		if again != string(text) {
			t.Fatalf("%q is read as %q", text, again)
		}
		var r Reader
		o, err := r.Read(c.Header, nil)
		if err != nil {
			return
		}
		for i, m := range o {
			if value, ok := o.Get(string(m.Name)); !ok || !bytes.Equal(value, o[i].Value) {
				t.Fatalf("%q stands there twice", m.Name)
			}
		}
	})
}

func TestEachAlgorithmHasAVerifier(t *testing.T) {
	for _, name := range Algorithms {
		if verifiers[name] == nil || Kind(name) == "" {
			t.Errorf("%s has no verifier or no kind of key", name)
		}
	}
	for _, name := range []string{"", "none", "NONE", "HS256", "HS384", "HS512", "rs256", "ES256K", "RSA-OAEP", "EdDSA "} {
		if verifiers[name] != nil || Kind(name) != "" {
			t.Errorf("%q has a verifier or a kind of key", name)
		}
	}
}

// A salt must be as long as the hash (RFC 7518, section 3.5).
func TestSaltLength(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	input := []byte("eyJhbGciOiJQUzI1NiJ9.e30")
	digest := sha256.Sum256(input)
	for salt, want := range map[int]bool{1: false, 20: false, 31: false, 32: true, 33: false, 64: false, 222: false} {
		signature, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if holds := Verify("PS256", &private.PublicKey, input, signature); holds != want {
			t.Errorf("a salt of %d bytes: %v", salt, holds)
		}
	}
	if Verify("PS256", "no key", nil, nil) {
		t.Error("something that is no key verifies")
	}
}
