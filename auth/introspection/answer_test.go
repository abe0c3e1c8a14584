package introspection

import (
	"bytes"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

func serial() *big.Int { return big.NewInt(1) }

func jwkJSON(k jwk.Key) ([]byte, error) { return json.Marshal(k) }

// FuzzAnswer: an answer that is active says so by the one member active, as the boolean
// true, and what is made of it is one object without it.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"active":true}`, `{"active":false,"sub":"x"}`, `{"active":true,"sub":"x","exp":1,"aud":["a","b"],"x":{"y":[1,null]}}`,
		`{"active":"true"}`, `{"active":true,"active":true}`, `{"\u0061ctive":true}`, `{"active":true,"\u0061ctive":false}`,
		`{"active":true,"a\"b":1}`, `{"active":1}`, `[]`, `null`, ``, `{"active":true}x`, "\ufeff{}", `{"active":true,"a":"\ud800"}`, `{"active":true,"a":"\u2028</script>"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := ParseAnswer(body)
		if err != nil {
			if answer != nil {
				t.Error("an answer, and an error")
			}
			return
		}
		var want map[string]any
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", body, err)
		}
		if active, ok := want["active"].(bool); !ok || active != answer.Active {
			t.Fatalf("%q is active: %v", body, answer.Active)
		}
		if !answer.Active {
			return
		}
		delete(want, "active")
		var got map[string]any
		if err := json.Unmarshal(answer.Claims, &got); err != nil {
			t.Fatalf("%q became %q: %v", body, answer.Claims, err)
		}
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(got)
		if !bytes.Equal(a, b) {
			t.Fatalf("%q became %q", body, answer.Claims)
		}
	})
}
