package auth

import (
	"fmt"
	"reflect"
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
	a := &authority{preset: preset{scopes: []string{"x"}}}
	for _, tt := range tests {
		claims := mustClaims(t, `{"x":`+tt.value+`}`)
		if got := claims.texts("x"); !slices.Equal(got, tt.texts) {
			t.Errorf("texts of %s: got %q, expected %q", tt.value, got, tt.texts)
		}
		if got := a.scopes(claims); !slices.Equal(got, tt.words) {
			t.Errorf("scopes of %s: got %q, expected %q", tt.value, got, tt.words)
		}
	}
	none := mustClaims(t, `{}`)
	if none.texts("x") != nil || a.scopes(none) != nil {
		t.Error("an absent claim has texts or scopes")
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

// A claim that is asked for once is at hand in every token that comes later, in the
// cache or new, and reads the same.
func TestAskedClaimsAreAtHand(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	mint := func(subject string) string {
		return g.idp.Mint(map[string]any{"sub": subject, "tenant": map[string]any{"plan": "pro"}, "list": []any{"x", 1, "y,z"}, "exp": at(time.Hour)})
	}
	cached, later := mint("cached"), mint("later")
	first := letIn(t, v, cached)
	paths := []string{"tenant.plan", "list", "aud", "absent"}
	want := make([]Text, len(paths))
	for i, path := range paths {
		want[i], _ = first.Text("claims." + path)
	}
	if first.Token.planned != 0 {
		t.Errorf("a token has %d values at hand that nobody had asked for", first.Token.planned)
	}
	for _, token := range []string{cached, later, cached, later} {
		p := letIn(t, v, token)
		if int(p.Token.planned) != len(paths) {
			t.Errorf("%s has %d values at hand, expected %d", p, p.Token.planned, len(paths))
		}
		for i, path := range paths {
			if text, _ := p.Text("claims." + path); text != want[i] {
				t.Errorf("%s: %s reads %+v at hand and %+v anew", p, path, text, want[i])
			}
		}
		if !p.claimHasAny("list", literals([]string{"y,z"})) || p.claimHasAny("list", literals([]string{"y", "z", "x,1"})) {
			t.Error("a list that its text does not tell is parted at the wrong place")
		}
	}
	if again, _ := v.Cached(); again != 2 {
		t.Errorf("%d tokens are in the cache, expected two", again)
	}
	if same := letIn(t, v, cached); same.Token != letIn(t, v, cached).Token {
		t.Error("a token that has all values at hand is made anew")
	}
}

func TestPlanIsBounded(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	token := g.idp.Mint(map[string]any{"tenant": map[string]any{"plan": "pro"}})
	p := letIn(t, v, token)
	for i := range 3 * maxPlanned {
		p.Text(fmt.Sprintf("claims.absent-%d", i))
	}
	p = letIn(t, v, token)
	if n := len(p.profile.authority.plan.list()); n != maxPlanned || int(p.Token.planned) != n {
		t.Errorf("%d claims are planned and %d at hand, expected %d", n, p.Token.planned, maxPlanned)
	}
	if text, _ := p.Text("claims.tenant.plan"); text.Value != "pro" || !p.claimHasAny("tenant.plan", literals([]string{"pro"})) {
		t.Errorf("beyond the bound a claim reads %q", text.Value)
	}
}

// However much is asked of a token, it reads right: what has no room beside its
// claims is read anew.
func TestHugeValues(t *testing.T) {
	a := newTestAuthority(t, nil)
	lists := map[string][]string{}
	payload := `{"sub":"alice","exp":9`
	for _, name := range []string{"a", "b", "c"} {
		for i := range 2000 {
			lists[name] = append(lists[name], fmt.Sprintf("%s-role-%d", name, i))
		}
		payload += fmt.Sprintf(`,%q:["%s"]`, name, strings.Join(lists[name], `","`))
		a.plan.place(name)
	}
	token := described(t, a, payload+"}")
	unread := 0
	for i := range lists {
		if token.entry(atPlanned+a.plan.place(i)).form == formUnread {
			unread++
		}
	}
	if unread != 1 {
		t.Errorf("%d of %d lists have no room, expected one", unread, len(lists))
	}
	p := unregistered(t, token)
	for name, list := range lists {
		v := p.claim(name)
		if got := slices.Collect(v.elements); !slices.Equal(got, list) || v.text.Value != strings.Join(list, ",") {
			t.Errorf("%s reads wrong: %d elements, the first %.1q", name, len(got), got)
		}
	}
}

// A token that is extended says and depends on the same as before, whatever a field
// more it has: only what is made of the plan differs.
func TestExtendedTokenIsTheSame(t *testing.T) {
	a := newTestAuthority(t, nil)
	token := described(t, a, `{"sub":"alice","azp":"web","exp":9,"cnf":{"jkt":"x"},"groups":["a"]}`)
	token.sum, token.fresh, token.vouched = fingerprint{1}, 1, true
	a.plan.place("azp")
	again := token.extended()
	if again.Subject() != "alice" || again.ClientID() != "web" || again.claims() != token.claims() || again.profile.claims != token.profile.claims {
		t.Errorf("a token of %s became one of %s", token.Subject(), again.Subject())
	}
	old, extended := reflect.ValueOf(token).Elem(), reflect.ValueOf(again).Elem()
	for i := range old.NumField() {
		switch name := old.Type().Field(i).Name; name {
		case "text", "json", "planned", "profile", "admitted", "first", "taken", "unrevoked", "asked":
		default:
			if !old.Field(i).Equal(extended.Field(i)) {
				t.Errorf("%s is another one", name)
			}
			if old.Field(i).IsZero() {
				t.Errorf("%s is not looked at here", name)
			}
		}
	}
}
