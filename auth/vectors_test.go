package auth

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// vectors are the examples of RFC 7515, appendix A.2 and A.3, and of RFC 8037,
// appendix A.4. The payload of the last is no claims set, which does not matter
// at this level.
var vectors = []struct{ name, key, token string }{
	{
		"RFC 7515 A.2, RS256",
		`{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`,
		"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ." +
			"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
	},
	{
		"RFC 7515 A.3, ES256",
		`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ." +
			"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
	},
	{
		"RFC 8037 A.4, Ed25519",
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
		"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
			"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
	},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			set, warnings, err := issuer.Config{}.ParseJWKS([]byte(`{"keys":[` + v.key + `]}`))
			if err != nil || len(warnings) > 0 {
				t.Fatal(err, warnings)
			}
			if !holds(set, v.token) {
				t.Error("the example is refused")
			}
			signature := strings.LastIndex(v.token, ".") + 1
			changed := []byte(v.token)
			changed[signature] ^= 1
			if holds(set, string(changed)) {
				t.Error("the example with another signature is accepted")
			}
		})
	}
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// TestMalleability: no change of one byte of a good token, anywhere, makes
// another token that is let in.
func TestMalleability(t *testing.T) {
	algorithms := []string{"RS256", "PS256", "ES256", "EdDSA"}
	g := newGate(t, algorithms...)
	// Without memory, so that each is decided anew.
	v := g.verifier(func(c *VerifierConfig) { c.CacheBytes = 0 })
	for _, algorithm := range algorithms {
		t.Run(algorithm, func(t *testing.T) {
			good := g.idp.Mint(map[string]any{"jti": idp.Absent}, idp.WithAlg(algorithm))
			letIn(t, v, good)
			try := func(what string, position int, token string) {
				if token == good {
					return
				}
				if v.Verify(t.Context(), token).Token != nil {
					t.Errorf("let in with byte %d %s: %q", position, what, token)
				}
			}
			for i := range len(good) {
				for _, replacement := range replacements(good[i]) {
					try("replaced", i, good[:i]+string([]byte{replacement})+good[i+1:])
				}
				try("removed", i, good[:i]+good[i+1:])
				try("doubled", i, good[:i+1]+good[i:])
			}
			for _, more := range []string{"A", "=", "==", ".", "\n", "\x00", " ", "AA", "AAA", "AAAA"} {
				try("appended", len(good), good+more)
				try("put before", 0, more+good)
			}
			dot := strings.LastIndexByte(good, '.') + 1
			for _, wrapped := range []string{"AAAA", "AA"} { // zero bytes before the signature
				try("put before the signature", dot, good[:dot]+wrapped+good[dot:])
			}
			raw, err := base64.RawURLEncoding.DecodeString(good[dot:])
			if err != nil {
				t.Fatal(err)
			}
			try("put before the signature", dot, good[:dot]+base64.RawURLEncoding.EncodeToString(append([]byte{0}, raw...)))
			try("standard alphabet", dot, good[:dot]+base64.RawStdEncoding.EncodeToString(raw))
		})
	}
}

// replacements are bytes that differ from c by little, by the base64 bits that
// decoders pass over, and by much.
func replacements(c byte) []byte {
	list := []byte{c ^ 1, c ^ 0x20, '.', '=', '\n'}
	if i := strings.IndexByte(base64URL, c); i >= 0 {
		for _, bit := range []int{1, 2, 4, 8, 16, 32} {
			list = append(list, base64URL[i^bit])
		}
	}
	return list
}
