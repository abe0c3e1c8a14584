package auth

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	strictjson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// FuzzAuthorization: what is taken is a part of the field, of the syntax and
// length that are asked for, after the scheme; all else is refused with a
// refusal that a header error deserves. Where the alphabet is looked at makes no
// difference.
func FuzzAuthorization(f *testing.F) {
	for _, field := range []string{
		"", "Bearer abc.def.ghi", "bearer a==", "Bearer  abc", "Bearer", "Bearer ", "Basic dTpw", "BearerX a", "Bearer a b",
		"Bearer a,b", "Bearer\ta", "Bearer a\x00", "Bearer e30.e30.e30 ", "Bearer e30.e30.e30\n", "Bearer e30.e30.e30, Bearer e30.e30.e30",
		"Bearer " + strings.Repeat("a", MaxTokenBytes+1),
	} {
		f.Add(field)
	}
	v := newGate(f).verifier()
	f.Fuzz(func(t *testing.T, field string) {
		token, refusal := bearer(t, v, []string{field})
		if want, wanted := strictBearer([]string{field}); token != want || refusal != wanted {
			t.Errorf("%q gave %q, %v; expected %q, %v", field, token, refusal, want, wanted)
		}
		if refusal == nil && !strings.HasSuffix(field, " "+token) {
			t.Errorf("%q gave %q, which is no part of it", field, token)
		}
		if _, refusal := ParseAuthorization([]string{field, field}); refusal != ErrSeveralHeaders {
			t.Errorf("twice gave %v", refusal)
		}
	})
}

// FuzzToken: nothing but the known good tokens, byte for byte, gets in.
func FuzzToken(f *testing.F) {
	v, tokens := fixedGate(f)
	good := map[string]bool{}
	for _, token := range tokens {
		good[token] = true
		letIn(f, v, token)
		f.Add(token)
		parts := strings.Split(token, ".")
		f.Add(parts[0] + "." + parts[1] + ".")
		f.Add(parts[0] + "." + b64(`{"iss":"`+fixedIssuer+`","sub":"admin","aud":"a","exp":9999999999}`) + "." + parts[2])
		for _, head := range []string{`{"alg":"none"}`, `{"alg":"EdDSA"}`, `{"alg":"HS256","kid":"RS256"}`, `{"alg":"RS256","crit":[]}`} {
			f.Add(b64(head) + "." + parts[1] + "." + parts[2])
		}
	}
	for _, token := range []string{"", "..", "a.b.c", b64("{}") + "." + b64("{}") + "." + b64("x")} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		verdict := v.Verify(t.Context(), token)
		if (verdict.Token == nil) == (verdict.Refusal == nil) {
			t.Fatalf("neither or both: %+v", verdict)
		}
		if verdict.Token != nil && !good[token] {
			t.Fatalf("let in: %q", token)
		}
		if verdict.Refusal != nil && !slices.ContainsFunc(Refusals(), func(r *Refusal) bool { return verdict.Refusal.Is(r) }) {
			t.Fatalf("a refusal that is not listed: %+v", verdict.Refusal)
		}
	})
}

// FuzzClaims takes payloads past the signature: whatever an issuer signs, it is
// read without a panic, and what is read is sound.
func FuzzClaims(f *testing.F) {
	for _, tt := range realTokens {
		f.Add([]byte(tt.claims), tt.preset)
	}
	f.Add([]byte(`{"exp":1.5,"nbf":-1,"iat":1e3,"aud":[],"sub":"\u0000"}`), "")
	g := newGate(f)
	f.Fuzz(func(t *testing.T, payload []byte, preset string) {
		policy := g.policy()
		if slices.Contains(Presets, preset) {
			policy.Preset = preset
		}
		if PresetHasTrustDomain(policy.Preset) {
			policy.TrustDomain = "acme.example"
		}
		a, err := newAuthority(policy, g.engine)
		if err != nil {
			t.Fatal(err)
		}
		claims, ok := parseClaims(payload)
		var members map[string]jsontext.Value
		if err := strictjson.Unmarshal(payload, &members); err != nil {
			members = nil
		}
		if ok != (members != nil) || len(claims) != len(members) {
			t.Fatalf("%q: taken %t with %d members, expected %t with %d", payload, ok, len(claims), members != nil, len(members))
		}
		for _, c := range claims {
			if string(members[string(c.Name)]) != string(c.Value) {
				t.Fatalf("member %q is %s, the JSON package says %s", c.Name, c.Value, members[string(c.Name)])
			}
		}
		if !ok {
			return
		}
		x := &examination{authority: a, claims: claims, parts: &parseBuffer{header: header{hint: issuer.Hint{Algorithm: "ES256"}}}, now: g.clock.now()}
		refusal := x.run(policyChecks)
		var r Token
		if refusal != nil || a.describe(&r, &header{}, claims, nil) != nil {
			return
		}
		p := unregistered(t, &r)
		if p.Subject() == "" || p.ExpiresAt().Unix() <= at(-1) || p.ExpiresAt().Year() > 9999 {
			t.Errorf("subject %q, expires %v", p.Subject(), p.ExpiresAt())
		}
		for _, key := range append(PrincipalKeys, "claims.aud", "claims.a.b") {
			text, ok := p.Text(key)
			if !ok || strings.Contains(text.Value, "\x00") && !strings.Contains(string(payload), `\u0000`) {
				t.Errorf("%s: %q, %t", key, text.Value, ok)
			}
			if text.Plain && !isPlain(text.Value) {
				t.Errorf("%s: %q is said to be carried unchanged", key, text.Value)
			}
		}
	})
}

// FuzzClaimPath: a look-up by path finds what plain walking finds, where no
// member's name holds a dot, and never panics where some do.
func FuzzClaimPath(f *testing.F) {
	for _, path := range []string{"", ".", "a", "a.b.c", "kubernetes.io.namespace", "https://acme.com/roles", "..a..", "a.", ".a"} {
		f.Add([]byte(`{"a":{"b":{"c":1},"b.c":2},"a.b":3,"kubernetes.io":{"namespace":"x"},"https://acme.com/roles":[1],"":{"":0}}`), path)
		f.Add([]byte(`{"a":{"b":{"c":"x"}}}`), path)
	}
	f.Fuzz(func(t *testing.T, payload []byte, path string) {
		claims, ok := parseClaims(payload)
		if !ok || len(payload) > MaxTokenBytes || len(path) > 200 {
			return
		}
		found, ok := claims.lookup(path)
		if ok && (path == "" || !json.Valid(found)) {
			t.Errorf("path %q found %q", path, found)
		}
		if want, plain := walk(payload, strings.Split(path, ".")); plain && !ok {
			t.Errorf("path %q found nothing, expected %s", path, want)
		}
		if member, whole := claims.get(path); whole && path != "" && string(found) != string(member) {
			t.Errorf("path %q found %q, expected the member of that very name", path, found)
		}
	})
}

// walk goes member by member.
func walk(value []byte, names []string) ([]byte, bool) {
	for _, name := range names {
		var members map[string]json.RawMessage
		if name == "" || json.Unmarshal(value, &members) != nil {
			return nil, false
		}
		next, ok := members[name]
		if !ok {
			return nil, false
		}
		value = next
	}
	return value, true
}
