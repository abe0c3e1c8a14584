package auth

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func parseCompact(token string) (*compact, *Refusal) { return new(desk).takeApart(token) }

func TestParseCompact(t *testing.T) {
	const head, body, sig = `{"alg":"RS256"}`, `{"sub":"a"}`, "signature"
	good := b64(head) + "." + b64(body) + "." + b64(sig)
	c, refusal := parseCompact(good)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if string(c.Payload) != body || string(c.Signature) != sig || string(c.Signed)+"."+b64(sig) != good || c.header.hint.Algorithm != "RS256" {
		t.Errorf("taken apart wrongly: %+v", c)
	}
	withHead := func(head string) string { return b64(head) + "." + b64(body) + "." + b64(sig) }
	tests := []struct {
		name, token string
		want        *Refusal
	}{
		{"empty", "", ErrNotJWS},
		{"one part", b64(head), ErrNotJWS},
		{"two parts", b64(head) + "." + b64(body), ErrNotJWS},
		{"four parts", good + "." + b64(sig), ErrNotJWS},
		{"five parts, as JWE has", good + "." + b64(sig) + "." + b64(sig), ErrNotJWS},
		{"no header", "." + b64(body) + "." + b64(sig), ErrNotJWS},
		{"no payload, as detached content has", b64(head) + ".." + b64(sig), ErrNotJWS},
		{"no signature", b64(head) + "." + b64(body) + ".", ErrNotJWS},
		{"only dots", "..", ErrNotJWS},
		{"padded", good + "==", ErrNotJWS},
		{"padded header", b64(head) + "=." + b64(body) + "." + b64(sig), ErrNotJWS},
		{"standard alphabet", b64(`{"alg":"RS256","x":"???>>>"}`)[:4] + "+/" + b64(head) + "." + b64(body) + "." + b64(sig), ErrNotJWS},
		{"a line break", good[:3] + "\n" + good[3:], ErrNotJWS},
		{"a carriage return behind", good + "\r", ErrNotJWS},
		{"a space", good + " ", ErrNotJWS},
		{"superfluous bits", b64(head) + "." + b64(body) + "." + "AB", ErrNotJWS},
		{"JSON serialization", `{"protected":"` + b64(head) + `","payload":"` + b64(body) + `","signature":"` + b64(sig) + `"}`, ErrNotJWS},
		{"header no JSON", withHead(`alg`), ErrNotJWS},
		{"header null", withHead(`null`), ErrNotJWS},
		{"header an array", withHead(`["RS256"]`), ErrNotJWS},
		{"header with something behind", withHead(head + `{}`), ErrNotJWS},
		{"header with a member twice", withHead(`{"alg":"none","alg":"RS256"}`), ErrRepeatedMember},
		{"header with a member twice, one escaped", withHead(`{"alg":"none","\u0061lg":"RS256"}`), ErrRepeatedMember},
		{"header with a member twice inside", withHead(`{"alg":"RS256","x":{"a":1,"a":2}}`), ErrRepeatedMember},
		{"header not UTF-8", withHead("{\"alg\":\"RS256\",\"x\":\"\xff\"}"), ErrNotUnicode},
		{"header with a lone surrogate", withHead(`{"alg":"RS256","x":"\ud800"}`), ErrNotUnicode},
		{"header with a byte order mark", withHead("\ufeff" + head), ErrNotJWS},
		{"alg a number", withHead(`{"alg":256}`), ErrHeaderMember},
		{"alg null", withHead(`{"alg":null}`), ErrHeaderMember},
		{"kid a number", withHead(`{"alg":"RS256","kid":1}`), ErrHeaderMember},
		{"kid null", withHead(`{"alg":"RS256","kid":null}`), ErrHeaderMember},
		{"typ an array", withHead(`{"alg":"RS256","typ":["JWT"]}`), ErrHeaderMember},
		{"crit", withHead(`{"alg":"RS256","crit":["exp"],"exp":1}`), ErrCritical},
		{"crit empty", withHead(`{"alg":"RS256","crit":[]}`), ErrCritical},
		{"crit null", withHead(`{"alg":"RS256","crit":null}`), ErrCritical},
		{"crit of b64", withHead(`{"alg":"RS256","crit":["b64"],"b64":false}`), ErrCritical},
		{"b64 false", withHead(`{"alg":"RS256","b64":false}`), ErrCritical},
		{"b64 of another type", withHead(`{"alg":"RS256","b64":0}`), ErrCritical},
		{"deep", withHead(`{"alg":"RS256","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`), ErrNotJWS},
		{"b64 true, as everywhere", withHead(`{"alg":"RS256","b64":true}`), nil},
		{"keys brought along are not read", withHead(`{"alg":"RS256","jwk":{"kty":"oct"},"jku":"https://evil.example","x5u":"x","x5c":["y"]}`), nil},
		{"names in another case are other names", withHead(`{"ALG":"none","alg":"RS256","Crit":["x"]}`), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, refusal := parseCompact(tt.token); refusal != tt.want {
				t.Errorf("got %v, expected %v", refusal, tt.want)
			}
		})
	}
}

func TestReadHeader(t *testing.T) {
	tests := []struct {
		text string
		want header
	}{
		{`{"alg":"ES256"}`, header{hint: issuer.Hint{Algorithm: "ES256"}}},
		{`{"alg":"ES256","kid":""}`, header{hint: issuer.Hint{Algorithm: "ES256", HasKeyID: true}}},
		{`{"alg":"ES256","kid":"a\u00e9"}`, header{hint: issuer.Hint{Algorithm: "ES256", KeyID: "aé", HasKeyID: true}}},
		{`{"alg":"ES256","typ":"Application/AT+jwt"}`, header{issuer.Hint{Algorithm: "ES256"}, "at+jwt"}},
		{`{"alg":"ES256","typ":"JWT"}`, header{issuer.Hint{Algorithm: "ES256"}, "jwt"}},
		{`{}`, header{}},
	}
	for _, tt := range tests {
		if got, refusal := readHeader(mustClaims(t, tt.text)); refusal != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v; expected %+v", tt.text, got, refusal, tt.want)
		}
	}
}
