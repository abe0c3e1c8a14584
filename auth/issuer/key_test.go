package issuer

import (
	"crypto/elliptic"
	"fmt"
	"strings"
	"testing"
)

func parsed(t *testing.T, keys ...any) *JWKS {
	t.Helper()
	set, warnings, err := Config{}.ParseJWKS(setOf(keys...))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	return set
}

func TestChoose(t *testing.T) {
	var keys []any
	for i := range 12 {
		keys = append(keys, ecKey(fmt.Sprint("p521-", i), elliptic.P521()))
	}
	for i := range 40 {
		keys = append(keys, ecKey(fmt.Sprint("p256-", i), elliptic.P256()).with("x5t#S256", fmt.Sprint("print-", i)).with("x5t", fmt.Sprint("sha1-", i)))
	}
	keys = append(keys, rsaKey("rsa"))
	set := parsed(t, keys...)
	for _, c := range []struct {
		name    string
		hint    Hint
		tried   int
		left    int
		known   bool
		firstID string
	}{
		{"by id", Hint{Algorithm: "ES256", KeyID: "p256-39", HasKeyID: true}, 1, 0, true, "p256-39"},
		{"by id, of another algorithm", Hint{Algorithm: "RS256", KeyID: "p256-39", HasKeyID: true}, 0, 0, true, ""},
		{"unknown id", Hint{Algorithm: "ES256", KeyID: "x", HasKeyID: true}, 0, 0, false, ""},
		{"no id: so many", Hint{Algorithm: "ES256"}, maxTried, 8, false, "p256-0"},
		{"no id: so much work", Hint{Algorithm: "ES512"}, 5, 7, false, "p521-0"},
		{"no id, one key", Hint{Algorithm: "RS256"}, 1, 0, false, "rsa"},
		{"by certificate", Hint{Algorithm: "ES256", X5TS256: "print-38"}, 1, 0, false, "p256-38"},
		{"by certificate, SHA-1", Hint{Algorithm: "ES256", X5T: "sha1-37"}, 1, 0, false, "p256-37"},
		{"by a certificate that no key has", Hint{Algorithm: "ES256", X5TS256: "other"}, maxTried, 8, false, "p256-0"},
		{"symmetric", Hint{Algorithm: "HS256"}, 0, 0, false, ""},
	} {
		got := set.Choose(c.hint)
		id := ""
		if len(got.Keys) > 0 {
			id = got.Keys[0].ID()
		}
		if len(got.Keys) != c.tried || got.Left != c.left || got.Known != c.known || id != c.firstID {
			t.Errorf("%s: %d tried from %q, %d left, known %t; want %d from %q, %d, %t", c.name, len(got.Keys), id, got.Left, got.Known, c.tried, c.firstID, c.left, c.known)
		}
	}
	if err := set.costly(); err == nil {
		t.Error("nothing is said of a set with more keys than are tried")
	}
	if err := parsed(t, rsaKey("a"), edKey("b")).costly(); err != nil {
		t.Errorf("an ordinary set: %v", err)
	}
}

// A key that names an issuer of its own is good for that one only; one that names the
// issuer of all tenants for each of these.
func TestChooseByIssuer(t *testing.T) {
	const tenant, other = "https://login.example.com/t1/v2.0", "https://login.example.com/t2/v2.0"
	set := parsed(t,
		edKey("all").with("issuer", "https://login.example.com/{tenantid}/v2.0"), edKey("own").with("issuer", tenant),
		edKey("plain"), edKey("odd").with("issuer", 7), edKey("elsewhere").with("issuer", "https://evil.example.com/{tenantid}/v2.0"))
	for issuer, want := range map[string]string{
		tenant: "all own plain", other: "all plain", "https://login.example.com/t1/x/v2.0": "plain", "https://login.example.com//v2.0": "plain",
		"": "all own plain odd elsewhere",
	} {
		var got []string
		for _, key := range set.Choose(Hint{Algorithm: "EdDSA", Issuer: issuer}).Keys {
			got = append(got, key.ID())
		}
		equal(t, issuer, strings.Join(got, " "), want)
	}
	if c := set.Choose(Hint{Algorithm: "EdDSA", KeyID: "own", HasKeyID: true, Issuer: other}); len(c.Keys) != 0 || !c.Known || !c.Foreign {
		t.Errorf("another tenant's key by its id: %+v", c)
	}
	// Kept, and fetched again for another issuer, it is another key.
	kept, err := set.encode()
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := Config{}.ParseJWKS(kept)
	if err != nil || again.match(set.byID["own"][0]) == nil || len(again.Choose(Hint{Algorithm: "EdDSA", Issuer: other}).Keys) != 2 {
		t.Errorf("kept as %s: %v", kept, err)
	}
	changed := parsed(t, edKey("own").with("x", set.byID["own"][0].members.X).with("issuer", other))
	if set.match(changed.byID["own"][0]) != nil {
		t.Error("a key that changed hands is taken for the one before")
	}
}
