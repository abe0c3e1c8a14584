package bound

import (
	"encoding/json"
	"strings"
	"testing"
)

const (
	oneHash   = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	otherHash = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
)

func TestParseConfirmation(t *testing.T) {
	for _, tt := range []struct {
		cnf  string
		want Confirmation
		why  *Refusal
	}{
		{`{"jkt":"` + oneHash + `"}`, Confirmation{Thumbprint: oneHash}, nil},
		{`{"x5t#S256":"` + oneHash + `"}`, Confirmation{Certificate: oneHash}, nil},
		{`{"x5t#S256":"` + oneHash + `","jkt":"` + otherHash + `"}`, Confirmation{otherHash, oneHash}, nil},
		{`{}`, Confirmation{}, ErrConfirmation},
		{`null`, Confirmation{}, ErrConfirmation},
		{`"` + oneHash + `"`, Confirmation{}, ErrConfirmation},
		{`[{"jkt":"` + oneHash + `"}]`, Confirmation{}, ErrConfirmation},
		{``, Confirmation{}, ErrConfirmation},
		{`{"jkt":""}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":null}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":1}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":["` + oneHash + `"]}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash + `="}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash[1:] + `"}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash[1:] + `+"}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash[:42] + `J"}`, Confirmation{}, ErrConfirmation}, // bits beyond the hash
		{`{"jkt":"` + oneHash + `","x5t#S256":""}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash + `","jkt":"` + otherHash + `"}`, Confirmation{}, ErrConfirmation},
		{`{"jwk":{}}`, Confirmation{}, ErrOtherBinding},
		{`{"kid":"a"}`, Confirmation{}, ErrOtherBinding},
		{`{"JKT":"` + oneHash + `"}`, Confirmation{}, ErrOtherBinding},
		{`{"x5t":"` + oneHash + `"}`, Confirmation{}, ErrOtherBinding},
		{`{"jkt":"` + oneHash + `","x":1}`, Confirmation{}, ErrOtherBinding},
	} {
		if got, why := ParseConfirmation([]byte(tt.cnf)); got != tt.want || why != tt.why {
			t.Errorf("%s: got %+v, %v", tt.cnf, got, reasonOf(why))
		}
	}
}

// FuzzConfirmation: whatever is taken asks for something, and can be written again.
func FuzzConfirmation(f *testing.F) {
	f.Add([]byte(`{"jkt":"` + oneHash + `"}`))
	f.Add([]byte(`{"x5t#S256":"` + oneHash + `","jkt":"\u0030"}`))
	f.Fuzz(func(t *testing.T, cnf []byte) {
		c, refusal := ParseConfirmation(cnf)
		if (c == Confirmation{}) != (refusal != nil) {
			t.Fatalf("got %+v, %v", c, reasonOf(refusal))
		}
		if refusal != nil {
			return
		}
		var again map[string]string
		if err := json.Unmarshal(cnf, &again); err != nil || again["jkt"] != c.Thumbprint || again["x5t#S256"] != c.Certificate {
			t.Fatalf("%s: got %+v, %v", cnf, c, err)
		}
		if text := c.Thumbprint + c.Certificate; strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("got %+v", c)
		}
	})
}
