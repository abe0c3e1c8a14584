package auth

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

func newTestAuthority(t *testing.T, change func(*Policy)) *authority {
	t.Helper()
	g := newGate(t)
	p := g.policy()
	if change != nil {
		change(&p)
	}
	a, err := newAuthority(p, g.engine)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// described is what the claims make of a token.
func described(t *testing.T, a *authority, payload string) *Token {
	t.Helper()
	claims, ok := parseClaims([]byte(payload))
	if !ok {
		t.Fatalf("not a claims set: %s", payload)
	}
	r := new(Token)
	if refusal := a.describe(r, &header{}, claims, nil); refusal != nil {
		t.Fatal(refusal)
	}
	return r
}

// Tokens that say the same of issuer, audience, groups and scopes share one
// standing, whatever else they say; others never do.
func TestStandingIsShared(t *testing.T) {
	a := newTestAuthority(t, nil)
	base := `{"iss":"x","aud":"y","sub":"alice","jti":"1","exp":9,"groups":["a","b"],"scope":"s"}`
	kept := described(t, a, base).standing
	same := `{"iss":"x","aud":"y","sub":"bob","jti":"2","exp":10,"email":"bob@example.com","groups":["a","b"],"scope":"s"}`
	if described(t, a, same).standing != kept {
		t.Error("an equal one is not shared")
	}
	for _, change := range [][2]string{
		{`["a","b"]`, `["a"]`}, {`["a","b"]`, `"a\nb"`}, {`"scope":"s"`, `"scope":"s t"`}, {`"aud":"y"`, `"aud":"z"`},
		{`"sub":"alice"`, `"sub":"alice","azp":"alice"`}, // a machine
		{`,"scope":"s"`, ``}, {`"groups":["a","b"],`, ``},
	} {
		other := strings.Replace(base, change[0], change[1], 1)
		if other == base || described(t, a, other).standing == kept {
			t.Errorf("%s shares the standing of %s", other, base)
		}
	}
}

func TestHugeStandingIsNotKept(t *testing.T) {
	a := newTestAuthority(t, nil)
	huge := fmt.Sprintf(`{"sub":"alice","exp":9,"groups":[%q]}`, strings.Repeat("g", maxShared))
	if p := unregistered(t, described(t, a, huge)); len(p.Groups()) != 1 || len(a.shelves.standings.all) != 0 {
		t.Errorf("%d groups were read and %d standings kept, expected one and none", len(p.Groups()), len(a.shelves.standings.all))
	}
	plain := unregistered(t, described(t, a, fmt.Sprintf(`{"sub":"alice","exp":9,"x":%q}`, strings.Repeat("x", maxShared))))
	if text, _ := plain.Text("claims.x"); len(text.Value) != maxShared || len(a.shelves.properties.all) != 0 {
		t.Errorf("%d bytes were read and %d properties kept", len(text.Value), len(a.shelves.properties.all))
	}
	plain.Claim("sub") // in one list with the huge claim
	if n := len(a.shelves.lists.all); n != 0 {
		t.Errorf("%d lists with a huge claim are kept", n)
	}
	ci := declare(t, account.Draft{Subject: "alice", Issuer: "acme", Status: account.StatusActive})
	if described(t, a, huge).standing.as(registered{account: ci, bond: owns}); len(a.shelves.registered.all) != 0 {
		t.Error("a huge standing is kept for being registered")
	}
}

func TestShelfIsBounded(t *testing.T) {
	var f shelf[int, int]
	for i := range 3 * shelfSize {
		if got := f.take(i, func() int { return -i }); got != -i {
			t.Fatalf("took %d, expected %d", got, -i)
		}
	}
	if n := len(f.all); n > shelfSize {
		t.Errorf("%d are kept, expected %d at most", n, shelfSize)
	}
	if got := f.take(3*shelfSize-1, func() int { return 1 }); got == 1 {
		t.Error("made again though it is kept")
	}
}

// However a token's claims are parted, every claim reads as it did in one piece.
func TestSplitLosesNothing(t *testing.T) {
	payload := `{"iss":"https://login.example.com","aud":["a","b"],"sub":"al\u0069ce","jti":"1","exp":9,` +
		`"realm_access":{"roles":["r1","r2"]},"resource_access":{"a":{"roles":["r3"]},"other":{"roles":["r4"]}},` +
		`"realm_access.roles.x":"dotted","scope":"s t","a\"b":{"c":[1,true,null,"x"]},"":"empty","groupsx":["no"],"n":null}`
	whole, _ := parseClaims([]byte(payload))
	paths := []string{
		"iss", "aud", "sub", "jti", "exp", "realm_access", "realm_access.roles", "resource_access.a.roles",
		"resource_access.other.roles", "realm_access.roles.x", "scope", `a"b`, `a"b.c`, "groupsx", "n", "absent",
	}
	for _, preset := range append(Presets(), "") {
		a := newTestAuthority(t, func(p *Policy) { p.Preset, p.Audiences = preset, []string{"a"} })
		r := described(t, a, payload)
		for _, path := range paths {
			var list []string
			if value, ok := whole.lookup(path); ok {
				list, _ = scalars(value)
			}
			for range 2 { // read anew, then recalled
				if got := unregistered(t, r).Claim(path); !slices.Equal(got, list) {
					t.Errorf("preset %q: %s reads %q, expected %q", preset, path, got, list)
				}
			}
		}
		if r.Subject() != "alice" {
			t.Errorf("preset %q: the subject is %q", preset, r.Subject())
		}
	}
}

// A subject that does not stand in the claims letter by letter is found all the
// same, and as long as it may be.
func TestSay(t *testing.T) {
	long := strings.Repeat("s", MaxTokenBytes)
	for _, test := range []struct{ claims, subject, client string }{
		{`{"sub":"alice","azp":"web"}`, "alice", "web"},
		{`{"sub":"\u0061lice"}`, "alice", ""},
		{`{"sub":"\u0061","azp":"\u0062"}`, "a and more", "b and more"},
		{long, long + "x", long + "y"},
	} {
		var r Token
		r.say(test.claims, test.subject, test.client)
		p := &Principal{token: &r}
		if p.Subject() != test.subject || p.ClientID() != test.client || r.claims.of(r.text) != test.claims {
			t.Errorf("%.40q: found %.40q, %.40q, %.40q", test.claims, r.claims.of(r.text), p.Subject(), p.ClientID())
		}
	}
}

// Callers with one standing and one account share what the two make together.
func TestRegisteredStandingIsShared(t *testing.T) {
	a := newTestAuthority(t, nil)
	ci := declare(t, account.Draft{Subject: "ci", Issuer: "acme", Status: account.StatusActive, Groups: []string{"b", "c"}})
	s := described(t, a, `{"sub":"ci","exp":9,"groups":["a","b"]}`).standing
	own := registered{account: ci, bond: owns}
	joined := s.as(own)
	if joined != s.as(own) || s.as(registered{}) != s {
		t.Error("the same account made another standing")
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(joined.groups.list, want) || joined.kind != KindServiceAccount || joined.registered != own {
		t.Errorf("found %+v, expected the groups %v of a service account", joined, want)
	}
	if slices.Contains(s.groups.list, "c") || s.registered.account != nil {
		t.Error("the token's own standing was changed")
	}
}
