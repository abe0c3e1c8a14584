package issuer

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

type wycheproofFile struct {
	NumberOfTests int `json:"numberOfTests"`
	TestGroups    []struct {
		Comment string          `json:"comment"`
		Private json.RawMessage `json:"private"`
		Public  json.RawMessage `json:"public"`
		Tests   []struct {
			TcID    int    `json:"tcId"`
			Comment string `json:"comment"`
			JWS     string `json:"jws"`
			Result  string `json:"result"`
		} `json:"tests"`
	} `json:"testGroups"`
}

// refusedOnPurpose are the cases that Wycheproof calls valid and we refuse:
// every one is an HMAC, whose key a published set must not hold (RFC 8725 §3.2
// and tokens of this product are asymmetric only).
var refusedOnPurpose = map[int]string{
	2:  "HS256 under a symmetric key",
	13: "HS256 under a long symmetric key",
	14: "HS384 under a long symmetric key",
	15: "HS512 under a long symmetric key",
}

// TestWycheproofKeys runs every case of json_web_key_test.json: the token must
// verify under a key of the set exactly if the case is valid. Where a case has a
// public and a private form of its keys, the private one must verify nothing.
func TestWycheproofKeys(t *testing.T) {
	data, err := os.ReadFile("testdata/wycheproof/json_web_key_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproofFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	ran, accepted := 0, 0
	for _, group := range file.TestGroups {
		set := group.Public
		if set == nil {
			set = group.Private
		}
		for _, c := range group.Tests {
			ran++
			got := verifiesUnder(t, set, c.JWS)
			reason, onPurpose := refusedOnPurpose[c.TcID]
			want := c.Result == "valid" && !onPurpose
			if got != want {
				t.Errorf("case %d (%s: %s): accepted %t, want %t %s", c.TcID, group.Comment, c.Comment, got, want, reason)
			}
			if onPurpose && c.Result != "valid" {
				t.Errorf("case %d needs no exception", c.TcID)
			}
			if got {
				accepted++
			}
			if group.Public != nil && verifiesUnder(t, group.Private, c.JWS) {
				t.Errorf("case %d: accepted under a published private key", c.TcID)
			}
		}
	}
	equal(t, "cases", ran, file.NumberOfTests)
	equal(t, "accepted", accepted, 1) // the one valid case without an HMAC
}

// TestWycheproofReasons holds that the weak keys fall to the check meant for
// them, and not to some other.
func TestWycheproofReasons(t *testing.T) {
	data, err := os.ReadFile("testdata/wycheproof/json_web_key_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproofFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	reasons := map[int]string{
		7: "ROCA", 8: "1024 bits", 9: "exponent", 10: "symmetric", 19: "alg", 20: "alg",
		22: "not a point", 23: "not a point", 24: "malformed", 25: "symmetric",
	}
	for _, group := range file.TestGroups {
		set := group.Public
		if set == nil {
			set = group.Private
		}
		for _, c := range group.Tests {
			want, ok := reasons[c.TcID]
			if !ok {
				continue
			}
			_, warnings, err := Config{}.ParseJWKS(set)
			if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], want) {
				t.Errorf("case %d: %v, %v; want a warning with %q", c.TcID, warnings, err, want)
			}
		}
	}
}

// verifiesUnder does what a verifier does: split, find the key by its id, ask
// whether it fits, verify.
func verifiesUnder(t *testing.T, keySet []byte, token string) bool {
	t.Helper()
	set, _, err := Config{}.ParseJWKS(keySet)
	if err != nil {
		t.Fatalf("the set is not one: %v", err)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token of %d parts", len(parts))
	}
	var header struct{ Alg, Kid string }
	if raw, err := base64.RawURLEncoding.DecodeString(parts[0]); err != nil || json.Unmarshal(raw, &header) != nil {
		t.Fatalf("header of %q", token)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	for _, k := range set.byID[header.Kid] {
		if !k.Fits(header.Alg) {
			continue
		}
		v, err := jws.NewVerifier(jwa.SignatureAlgorithm(header.Alg))
		if err != nil {
			t.Fatal(err)
		}
		if v.Verify([]byte(parts[0]+"."+parts[1]), signature, k.Public()) == nil {
			return true
		}
	}
	return false
}
