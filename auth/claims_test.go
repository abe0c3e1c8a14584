package auth

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

func mustClaims(tb testing.TB, text string) claimSet {
	tb.Helper()
	claims, ok := parseClaims([]byte(text))
	if !ok {
		tb.Fatalf("no claims set: %s", text)
	}
	return claims
}

func TestParseClaims(t *testing.T) {
	for _, text := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":{"a":{"a":[]}}}`, `{"a":null,"A":null}`, "{\"\":\"\"}\n",
		`{"a":"😀\ud83d\ude00"}`, `{"big":` + strings.Repeat("9", 5000) + `}`,
	} {
		if _, ok := parseClaims([]byte(text)); !ok {
			t.Errorf("refused: %.60s", text)
		}
	}
	for _, text := range []string{
		``, ` `, `null`, `true`, `1`, `"a"`, `[]`, `[{}]`, `{`, `}`, `{}{}`, `{} x`, `{"a"}`, `{"a":}`, `{"a":1,}`,
		`{a:1}`, `{'a':1}`, `{"a":01}`, `{"a":+1}`, `{"a":NaN}`, `{"a":.5}`, `{"a":1}//`, `{"a":1,"a":1}`,
		`{"a":1,"\u0061":2}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1,"b":2}]}`, "{\"a\":\"\xff\"}", "{\"\xff\":1}",
		`{"a":"\ud800"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "\ufeff{}",
		strings.Repeat(`{"a":`, 11000) + "1" + strings.Repeat("}", 11000),
	} {
		if _, ok := parseClaims([]byte(text)); ok {
			t.Errorf("taken: %.60q", text)
		}
	}
}

func TestLookup(t *testing.T) {
	claims := mustClaims(t, `{
		"sub": "s",
		"realm_access": {"roles": ["a"]},
		"kubernetes.io": {"namespace": "prod", "pod": {"name": "web"}},
		"https://acme.com/roles": ["x"],
		"https://acme.com/app": {"tenant.plan": "pro", "tenant": {"plan": "free", "size": 3}},
		"a.b": {"x": 1}, "a": {"b": {"x": 2, "y": 3}, "b.x": 4},
		"p.q.r": "top", "p": {"q.r": "inner", "q": {"r": "innermost"}},
		"null": null, "list": [{"a": 1}],
		"": {"": "empty"}, "dot.": "behind", ".dot": "before"
	}`)
	tests := []struct{ path, want string }{
		{"sub", `"s"`},
		{"realm_access.roles", `["a"]`},
		{"realm_access", `{"roles": ["a"]}`},
		{"kubernetes.io.namespace", `"prod"`},
		{"kubernetes.io.pod.name", `"web"`},
		{"https://acme.com/roles", `["x"]`},
		{"https://acme.com/app.tenant.plan", `"pro"`},
		{"https://acme.com/app.tenant.size", `3`},
		{"a.b.x", `1`},
		{"a.b.y", `3`},
		{"p.q.r", `"top"`},
		{"null", `null`},
		{"dot.", `"behind"`},
		{".dot", `"before"`},
	}
	for _, tt := range tests {
		if got, ok := claims.lookup(tt.path); !ok || string(got) != tt.want {
			t.Errorf("%s: got %s, %t; expected %s", tt.path, got, ok, tt.want)
		}
	}
	for _, path := range []string{
		"", ".", "..", "absent", "sub.x", "realm_access.", ".realm_access", "realm_access.roles.a", "realm_access..roles",
		"list.0", "list.a", "null.x", "SUB", "kubernetes", "kubernetes.io.namespace.x", "https://acme", "a.b.z",
	} {
		if got, ok := claims.lookup(path); ok {
			t.Errorf("%q: found %s, expected nothing", path, got)
		}
	}
}

// A path of many dots meets a token made of nothing but its prefixes: work must
// stay within sight of the token's size.
func TestLookupIsBounded(t *testing.T) {
	const depth = 200
	path := strings.Repeat("a.", depth) + "b"
	var text strings.Builder
	for range depth {
		text.WriteString(`{"a.a":{},"a.a.a":{},"a":`)
	}
	text.WriteString("{}" + strings.Repeat("}", depth))
	claims := mustClaims(t, text.String())
	done := make(chan bool)
	go func() {
		_, ok := claims.lookup(path)
		done <- ok
	}()
	select {
	case ok := <-done:
		if ok {
			t.Error("found what is not there")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a look-up does not end")
	}
}

func TestDate(t *testing.T) {
	tests := []struct {
		text        string
		want        float64
		present, ok bool
	}{
		{`{}`, 0, false, true},
		{`{"exp":0}`, 0, true, true},
		{`{"exp":-1}`, -1, true, true},
		{`{"exp":-0}`, 0, true, true},
		{`{"exp":1.5}`, 1.5, true, true},
		{`{"exp":1788264000}`, 1788264000, true, true},
		{`{"exp":1.788264e9}`, 1788264000, true, true},
		{`{"exp":253402300799}`, 253402300799, true, true},
		{`{"exp":253402300800}`, 0, true, false},
		{`{"exp":1788264000000}`, 0, true, false},
		{`{"exp":-253402300800}`, 0, true, false},
		{`{"exp":1e308}`, 0, true, false},
		{`{"exp":1e309}`, 0, true, false},
		{`{"exp":-1e309}`, 0, true, false},
		{`{"exp":1e-400}`, 0, true, true},
		{`{"exp":` + strings.Repeat("9", 5000) + `}`, 0, true, false},
		{`{"exp":"1788264000"}`, 0, true, false},
		{`{"exp":null}`, 0, true, false},
		{`{"exp":true}`, 0, true, false},
		{`{"exp":[1788264000]}`, 0, true, false},
		{`{"exp":{}}`, 0, true, false},
	}
	for _, tt := range tests {
		got, present, ok := jose.Object(mustClaims(t, tt.text)).Date("exp")
		if present != tt.present || ok != tt.ok || ok && got != tt.want {
			t.Errorf("%.60s: got %v, %t, %t; expected %v, %t, %t", tt.text, got, present, ok, tt.want, tt.present, tt.ok)
		}
	}
}

func TestAudiences(t *testing.T) {
	tests := []struct {
		text string
		want []string
		ok   bool
	}{
		{`{}`, nil, true},
		{`{"aud":"a"}`, []string{"a"}, true},
		{`{"aud":["a","b"]}`, []string{"a", "b"}, true},
		{`{"aud":[]}`, []string{}, true},
		{`{"aud":""}`, []string{""}, true},
		{`{"aud":"a b"}`, []string{"a b"}, true},
		{`{"aud":"\u0061"}`, []string{"a"}, true},
		{`{"aud":["a",null]}`, nil, false},
		{`{"aud":["a",1]}`, nil, false},
		{`{"aud":["a",["b"]]}`, nil, false},
		{`{"aud":null}`, nil, false},
		{`{"aud":1}`, nil, false},
		{`{"aud":{"a":"b"}}`, nil, false},
		{`{"aud":true}`, nil, false},
	}
	for _, tt := range tests {
		got, ok := jose.Object(mustClaims(t, tt.text)).List("aud")
		if ok != tt.ok || ok && (!slices.Equal(got, tt.want) || (got == nil) != (tt.want == nil)) {
			t.Errorf("%s: got %#v, %t; expected %#v, %t", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

func TestTextsAndWords(t *testing.T) {
	tests := []struct {
		value        string
		texts, words []string
	}{
		{`"a b"`, []string{"a b"}, []string{"a", "b"}},
		{`"a,b"`, []string{"a,b"}, []string{"a,b"}},
		{`" a  b "`, []string{" a  b "}, []string{"a", "b"}},
		{`"a\tb\u00a0c"`, []string{"a\tb\u00a0c"}, []string{"a\tb\u00a0c"}},
		{`""`, nil, nil},
		{`["a b","c"]`, []string{"a b", "c"}, []string{"a b", "c"}},
		{`["a",1,null,true,["b"],{"c":"d"},"","e"]`, []string{"a", "e"}, []string{"a", "e"}},
		{`[]`, nil, nil},
		{`1`, nil, nil},
		{`null`, nil, nil},
		{`true`, nil, nil},
		{`{"a":"b"}`, nil, nil},
		{`["\u0061\n","\"\\"]`, []string{"a\n", `"\`}, []string{"a\n", `"\`}},
	}
	for _, tt := range tests {
		claims := mustClaims(t, `{"x":`+tt.value+`}`)
		if got := claims.texts("x"); !slices.Equal(got, tt.texts) {
			t.Errorf("texts of %s: got %q, expected %q", tt.value, got, tt.texts)
		}
		if got := claims.words("x"); !slices.Equal(got, tt.words) {
			t.Errorf("words of %s: got %q, expected %q", tt.value, got, tt.words)
		}
	}
	none := mustClaims(t, `{}`)
	if none.texts("x") != nil || none.words("x") != nil {
		t.Error("an absent claim has texts or words")
	}
}

func TestScalars(t *testing.T) {
	tests := []struct {
		value string
		want  []string
		array bool
	}{
		{`"a"`, []string{"a"}, false},
		{`""`, []string{""}, false},
		{`1.50`, []string{"1.50"}, false},
		{`-1e3`, []string{"-1e3"}, false},
		{`true`, []string{"true"}, false},
		{`null`, nil, false},
		{`{"a": 1}`, []string{`{"a": 1}`}, false},
		{`["a",1,false,null,{"b":2}]`, []string{"a", "1", "false", `{"b":2}`}, true},
		{`[]`, nil, true},
		{`[["a"]]`, []string{`["a"]`}, true},
	}
	for _, tt := range tests {
		value, _ := mustClaims(t, `{"x":`+tt.value+`}`).get("x")
		got, array := scalars(value)
		if !slices.Equal(got, tt.want) || array != tt.array {
			t.Errorf("%s: got %q, %t; expected %q, %t", tt.value, got, array, tt.want, tt.array)
		}
	}
}

func TestIs(t *testing.T) {
	claims := mustClaims(t, `{"a":"x","n":1,"e":"","u":"\u0078"}`)
	if !claims.is("a", "x") || !claims.is("u", "x") {
		t.Error("an equal claim is said to differ")
	}
	for _, c := range [][2]string{{"a", "X"}, {"a", ""}, {"e", ""}, {"n", "1"}, {"absent", ""}, {"absent", "x"}} {
		if claims.is(c[0], c[1]) {
			t.Errorf("claim %q is said to be %q", c[0], c[1])
		}
	}
}
