package issuer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func parse(t *testing.T, keys ...any) (*JWKS, []string) {
	t.Helper()
	s, warnings, err := Config{}.ParseJWKS(setOf(keys...))
	if err != nil {
		t.Fatal(err)
	}
	return s, warnings
}

func TestParseSetKinds(t *testing.T) {
	s, warnings := parse(t, rsaKey("r"), ecKey("p256", elliptic.P256()), ecKey("p384", elliptic.P384()),
		ecKey("p521", elliptic.P521()), edKey("ed"))
	if len(warnings) != 0 {
		t.Fatalf("warnings: %v", warnings)
	}
	if _, ok := s.byID["r"][0].Public().(*rsa.PublicKey); !ok {
		t.Error("r is not RSA")
	}
	if _, ok := s.byID["p384"][0].Public().(*ecdsa.PublicKey); !ok {
		t.Error("p384 is not ECDSA")
	}
	if _, ok := s.byID["ed"][0].Public().(ed25519.PublicKey); !ok {
		t.Error("ed is not Ed25519")
	}
	fits := map[string]string{
		"r":    "RS256 RS384 RS512 PS256 PS384 PS512",
		"p256": "ES256", "p384": "ES384", "p521": "ES512", "ed": "EdDSA Ed25519",
	}
	all := "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519 HS256 none NONE ES256K rs256 "
	for kid, want := range fits {
		var got []string
		for alg := range strings.SplitSeq(all, " ") {
			if s.byID[kid][0].Fits(alg) {
				got = append(got, alg)
			}
		}
		equal(t, kid+" fits", strings.Join(got, " "), want)
	}
}

func TestFitsOwnAlgorithm(t *testing.T) {
	s, _ := parse(t, rsaKey("r").with("alg", "PS256"), edKey("old").with("alg", "EdDSA"), edKey("new").with("alg", "Ed25519"))
	r := s.byID["r"][0]
	if r.Fits("RS256") || !r.Fits("PS256") || r.alg != "PS256" {
		t.Error("the key's own algorithm does not hold")
	}
	for _, kid := range []string{"old", "new"} {
		if k := s.byID[kid][0]; !k.Fits("EdDSA") || !k.Fits("Ed25519") {
			t.Errorf("%s: the two names of Ed25519 are not one", kid)
		}
	}
}

// TestParseSetIgnores holds that each bad key is left out alone, with a warning
// or in silence.
func TestParseSetIgnores(t *testing.T) {
	ec, ed, r := ecKey("x", elliptic.P256()), edKey("x"), rsaKey("x")
	silent := ""
	for name, c := range map[string]struct {
		key  any
		want string
	}{
		"symmetric":                 {member{"kty": "oct", "kid": "x", "k": "AAAA"}, "is symmetric"},
		"symmetric in disguise":     {ed.with("k", "AAAA"), "is symmetric"},
		"symmetric for another use": {member{"kty": "oct", "kid": "x", "k": "AAAA", "use": "enc"}, "is symmetric"},
		"private":                   {ed.with("d", "AAAA"), "is a private key"},
		"private of any shape":      {ed.with("d", 1), "is a private key"},
		"RSA 1024":                  {r.with("n", b64(bytes.Repeat([]byte{0xff}, 128))), "of 1024 bits: at least 2048"},
		"RSA 2047":                  {r.with("n", b64(append([]byte{0x7f}, bytes.Repeat([]byte{0xff}, 255)...))), "of 2047 bits"},
		"RSA 8200":                  {r.with("n", b64(bytes.Repeat([]byte{0xff}, 1025))), "of 8200 bits: at most 8192"},
		"RSA enormous":              {r.with("n", strings.Repeat("_", 100_000)), "of more than 8192 bits"},
		"RSA even":                  {r.with("n", b64(append(bytes.Repeat([]byte{0xff}, 255), 0xfe))), "even modulus"},
		"RSA e=1":                   {r.with("e", "AQ"), "exponent"},
		"RSA e=0":                   {r.with("e", "AA"), "exponent"},
		"RSA e even":                {r.with("e", b64([]byte{1, 0, 0})), "exponent"},
		"RSA e=2^31+1":              {r.with("e", b64([]byte{0x80, 0, 0, 1})), "exponent"},
		"RSA e=2^64+65537":          {r.with("e", b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})), "exponent"},
		"RSA e=2^63+65537":          {r.with("e", b64([]byte{0x80, 0, 0, 0, 0, 1, 0, 1})), "exponent"},
		"RSA without n":             {r.with("n", nil), "malformed"},
		"RSA n not base64":          {r.with("n", "!!!"), "malformed"},
		"RSA n a number":            {r.with("n", 5), "malformed"},
		"EC without y":              {ec.with("y", nil), "malformed"},
		"EC off its curve":          {ec.with("y", ec["x"]), "not a point"},
		"EC at zero":                {ec.with("x", "AA").with("y", "AA"), "not a point"},
		"EC coordinate too long":    {ec.with("x", b64(bytes.Repeat([]byte{1}, 60))), "not a point"},
		"EC other curve":            {ec.with("crv", "P-384"), "not a point"},
		"EC secp256k1":              {ec.with("crv", "secp256k1"), "curve that is not supported"},
		"OKP short":                 {ed.with("x", "AAAA"), "has 3 bytes"},
		"OKP X25519":                {ed.with("crv", "X25519"), "curve that is not supported"},
		"OKP Ed448":                 {ed.with("crv", "Ed448"), "curve that is not supported"},
		"unknown type":              {ed.with("kty", "PQC"), "type that is not supported"},
		"no type":                   {ed.with("kty", nil), "type that is not supported"},
		"type in capitals":          {ed.with("kty", "okp"), "type that is not supported"},
		"alg of another type":       {ed.with("alg", "RS256"), "alg that is not supported"},
		"alg HS256":                 {r.with("alg", "HS256"), "alg that is not supported"},
		"alg none":                  {r.with("alg", "none"), "alg that is not supported"},
		"alg of another curve":      {ec.with("alg", "ES384"), "alg that is not supported"},
		"alg for encryption":        {r.with("alg", "RSA-OAEP"), "alg that is not supported"},
		"kid a number":              {ed.with("kid", 5), "malformed"},
		"kid too long":              {ed.with("kid", strings.Repeat("k", 513)), "kid of 513 bytes"},
		"a string":                  {"key", "malformed"},
		"null":                      {nil, "malformed"},
		"an array":                  {[]string{}, "malformed"},
		"twice a member":            {json.RawMessage(`{"kty":"OKP","kid":"a","kid":"x"}`), "malformed"},
		"key_ops a string":          {ed.with("key_ops", "verify"), "malformed"},

		"use enc":          {ed.with("use", "enc"), silent},
		"use enc, and bad": {r.with("use", "enc").with("n", "AA"), silent},
		"key_ops encrypt":  {ed.with("key_ops", []string{"encrypt", "wrapKey"}), silent},
		"key_ops empty":    {ed.with("key_ops", []string{}), silent},
	} {
		t.Run(name, func(t *testing.T) {
			s, warnings := parse(t, edKey("before"), c.key, edKey("after"))
			if len(s.All()) != 2 || len(s.byID["before"]) != 1 || len(s.byID["after"]) != 1 {
				t.Fatalf("the good keys suffered: %d left", len(s.All()))
			}
			if c.want == silent && len(warnings) != 0 {
				t.Fatalf("warnings: %v", warnings)
			}
			if c.want != silent && (len(warnings) != 1 || !strings.HasPrefix(warnings[0], "key 1 of the set") || !strings.Contains(warnings[0], c.want)) {
				t.Fatalf("warnings: %v, want one with %q", warnings, c.want)
			}
		})
	}
}

// TestParseSetTakes holds what real issuers send beside the bare minimum.
func TestParseSetTakes(t *testing.T) {
	ed := edKey("x")
	for name, key := range map[string]any{
		"no use":              ed.with("use", nil),
		"no alg":              ed.with("alg", nil),
		"no kid":              ed.with("kid", nil),
		"key_ops verify":      ed.with("key_ops", []string{"verify"}),
		"nulls":               ed.with("d", json.RawMessage("null")).with("k", json.RawMessage("null")).with("alg", json.RawMessage("null")),
		"bad x5c":             ed.with("x5c", 5).with("x5t", []int{1}),
		"unknown member":      ed.with("issued", map[string]int{"at": 1}),
		"padded numbers":      rsaKey("x").with("e", "AQAB===="[:4]),
		"exponent with zeros": rsaKey("x").with("e", "AAEAAQ"),
		"exponent 3":          rsaKey("x").with("e", "Aw"),
	} {
		s, warnings := parse(t, key)
		if len(s.All()) != 1 || len(warnings) != 0 {
			t.Errorf("%s: not taken: %v", name, warnings)
		}
	}
}

func TestParseSetDocument(t *testing.T) {
	one, _ := json.Marshal(edKey("x"))
	many := func(n int) []byte {
		return []byte(`{"keys":[` + strings.TrimSuffix(strings.Repeat(`{},`, n), ",") + `]}`)
	}
	for _, c := range []struct {
		name, doc, want string
	}{
		{"empty", ``, "not a JSON object"},
		{"html", `<html>SECRET</html>`, "not a JSON object"},
		{"array", `[` + string(one) + `]`, "not a JSON object"},
		{"no keys", `{"key":[]}`, "no `keys`"},
		{"keys in capitals", `{"Keys":[]}`, "no `keys`"},
		{"keys an object", `{"keys":{}}`, "not an array"},
		{"keys null", `{"keys":null}`, "not an array"},
		{"keys twice", `{"keys":[],"keys":[]}`, "`keys` twice"},
		{"cut off", `{"keys":[` + string(one), "malformed after byte"},
		{"cut off in a key", `{"keys":[{"kty":`, "malformed after byte"},
		{"cut off after keys", `{"keys":[]`, "malformed after byte"},
		{"bad before keys", `{"a":SECRET,"keys":[]}`, "malformed after byte"},
		{"more behind", `{"keys":[]}{}`, "something else"},
		{"1 MiB and one", `{"keys":[]}` + strings.Repeat(" ", 1<<20-10), "more than 1048576 bytes"},
		{"100 keys", string(many(100)), ""},
		{"1 MiB", `{"keys":[]}` + strings.Repeat(" ", 1<<20-11), ""},
		{"other members, repeated", `{"a":1,"a":[{"b":null}],"keys":[],"z":"\ud800"}`, ""},
		{"a key with bad UTF-8", "{\"keys\":[{\"kid\":\"\xff\"}," + string(one) + "]}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Config{}.ParseJWKS([]byte(c.doc))
			if c.want == "" && err != nil {
				t.Fatal(err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET")) {
				t.Fatalf("got %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestParseSetSharedIDs(t *testing.T) {
	a, b := edKey("same"), ecKey("same", elliptic.P256())
	s, warnings := parse(t, a, b, a, edKey("").with("kid", nil))
	if len(warnings) != 0 || len(s.All()) != 3 {
		t.Fatalf("%d keys, warnings %v", len(s.All()), warnings)
	}
	equal(t, "keys of one id", len(s.byID["same"]), 2)
	equal(t, "keys without an id", len(s.byID[""]), 1)
	equal(t, "keys of no id", len(s.byID["other"]), 0)
}

func TestSetEncodeKeepsEveryKeyTheSame(t *testing.T) {
	s, _ := parse(t, rsaKey("r").with("alg", "RS256").with("x5c", []string{"AAAA"}), ecKey("e", elliptic.P521()), edKey("d"),
		edKey("").with("kid", nil), edKey("p").with("d", "SECRET"))
	data, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("SECRET")) || bytes.Contains(data, []byte(`"x5c"`)) {
		t.Fatalf("kept more than public keys: %s", data)
	}
	again, warnings, err := Config{}.ParseJWKS(data)
	if err != nil || len(warnings) != 0 || len(again.All()) != 4 {
		t.Fatalf("read back: %v, %v", warnings, err)
	}
	for _, k := range s.All() {
		if again.match(k) == nil {
			t.Errorf("%s is another key now", k.Name())
		}
	}
}

func TestTrustedAllocatesNothing(t *testing.T) {
	s, _ := parse(t, edKey("a"), edKey("b"))
	var found int
	equal(t, "allocations", testing.AllocsPerRun(100, func() {
		for _, k := range s.byID["b"] {
			if k.Trusted() && k.Fits("EdDSA") {
				found++
			}
		}
	}), 0)
	if found == 0 {
		t.Error("a key without an engine is not trusted")
	}
}

func ExampleConfig_ParseJWKS() {
	set, warnings, err := Config{}.ParseJWKS([]byte(`{"keys":[
		{"kty":"OKP","crv":"Ed25519","kid":"2026","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
		{"kty":"oct","kid":"shared","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMko"}]}`))
	fmt.Println(len(set.All()), set.byID["2026"][0].Fits("EdDSA"), err)
	fmt.Println(warnings[0])
	// Output:
	// 1 true <nil>
	// key 1 of the set, "shared", is symmetric: whoever reads the set could sign with it
}
