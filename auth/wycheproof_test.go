package auth

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// wycheproofFile is json_web_signature_test.json of Project Wycheproof.
type wycheproofFile struct {
	NumberOfTests int `json:"numberOfTests"`
	TestGroups    []struct {
		Comment string          `json:"comment"`
		Public  json.RawMessage `json:"public"`
		Private json.RawMessage `json:"private"`
		Tests   []struct {
			ID      int             `json:"tcId"`
			Comment string          `json:"comment"`
			JWS     json.RawMessage `json:"jws"`
			Result  string          `json:"result"`
		} `json:"tests"`
	} `json:"testGroups"`
}

// stricter is every case that Wycheproof calls valid and that is refused here,
// and why.
var stricter = map[int]string{
	1: secret, 348: secret, 352: secret, 357: secret, 358: secret, 359: secret, 376: secret, 377: secret,
	372: secretAndBadBase64, 373: secretAndBadBase64,
	259: empty, 264: empty, 268: empty, 272: empty, 320: empty, 325: empty,
	346: otherAlgorithm, 347: otherAlgorithm, 350: otherAlgorithm, 351: otherAlgorithm,
}

// Why a case is refused though it is valid.
const (
	secret             = "a shared secret is never accepted: who verifies could sign"
	secretAndBadBase64 = "the same, and the text holds what is not base64url"
	empty              = "an empty payload is no claims set"
	otherAlgorithm     = "the key's own alg (PS256, or ES521, which does not exist) is not the token's (PS384, ES512)"
)

// TestWycheproof takes every case through the parsing of tokens and key sets,
// the choice of keys and the verification that real tokens go through.
func TestWycheproof(t *testing.T) {
	data, err := os.ReadFile("testdata/wycheproof/json_web_signature_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproofFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, group := range file.TestGroups {
		key := group.Public
		if key == nil {
			key = group.Private // the shared secret of a MAC
		}
		set, _, err := issuer.Config{}.ParseJWKS(fmt.Appendf(nil, `{"keys":[%s]}`, key))
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range group.Tests {
			ran++
			reason, isStricter := stricter[test.ID]
			want := test.Result == "valid" && !isStricter
			if got := holds(set, text(t, test.JWS)); got != want {
				t.Errorf("case %d (%s, %s, %s): accepted %t, expected %t %s",
					test.ID, group.Comment, test.Comment, test.Result, got, want, reason)
			}
			if isStricter && test.Result != "valid" {
				t.Errorf("case %d is in the table of exceptions and needs none", test.ID)
			}
			if reason == secret && len(set.All()) != 0 {
				t.Errorf("case %d: the key set keeps a shared secret", test.ID)
			}
			if reason == otherAlgorithm && !holds(withoutAlgorithm(t, key), text(t, test.JWS)) {
				t.Errorf("case %d is refused for another reason than the key's alg", test.ID)
			}
		}
	}
	if ran != file.NumberOfTests || ran != 401 {
		t.Errorf("%d cases ran, expected 401", ran)
	}
}

// withoutAlgorithm is the set of a key that does not say what it is for.
func withoutAlgorithm(t *testing.T, key json.RawMessage) *issuer.JWKS {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(key, &members); err != nil {
		t.Fatal(err)
	}
	delete(members, "alg")
	data, err := json.Marshal(map[string]any{"keys": []any{members}})
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := issuer.Config{}.ParseJWKS(data)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// text is a JWS in compact serialization, or the JSON of one that is not.
func text(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// holds tells whether a key of the set signed the token.
func holds(set *issuer.JWKS, token string) bool {
	parts, refusal := parseCompact(token)
	if refusal != nil {
		return false
	}
	keys := set.Choose(parts.header.hint).Keys
	return len(keys) > 0 && (&examination{verifier: new(Verifier), parts: parts}).signedBy(keys) != nil
}
