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
// profile, whatever else they say; others never do.
func TestProfileIsShared(t *testing.T) {
	a := newTestAuthority(t, nil)
	base := `{"iss":"x","aud":"y","sub":"alice","jti":"1","exp":9,"groups":["a","b"],"scope":"s"}`
	kept := described(t, a, base).profile
	same := `{"iss":"x","aud":"y","sub":"bob","jti":"2","exp":10,"email":"bob@example.com","groups":["a","b"],"scope":"s"}`
	if described(t, a, same).profile != kept {
		t.Error("an equal one is not shared")
	}
	for _, change := range [][2]string{
		{`["a","b"]`, `["a"]`}, {`["a","b"]`, `"a\nb"`}, {`"scope":"s"`, `"scope":"s t"`}, {`"aud":"y"`, `"aud":"z"`},
		{`"sub":"alice"`, `"sub":"alice","azp":"alice"`}, // a machine
		{`,"scope":"s"`, ``}, {`"groups":["a","b"],`, ``},
	} {
		other := strings.Replace(base, change[0], change[1], 1)
		if other == base || described(t, a, other).profile == kept {
			t.Errorf("%s shares the profile of %s", other, base)
		}
	}
}

func TestHugeProfileIsNotKept(t *testing.T) {
	a := newTestAuthority(t, nil)
	huge := fmt.Sprintf(`{"sub":"alice","exp":9,"groups":[%q]}`, strings.Repeat("g", maxShared))
	token := described(t, a, huge)
	if p := unregistered(t, token); len(p.Groups()) != 1 || len(a.interner.profiles) != 0 {
		t.Errorf("%d groups were read and %d profiles kept, expected one and none", len(p.Groups()), len(a.interner.profiles))
	}
	ci := declare(t, account.Draft{Subject: "alice", Issuer: "acme", Status: account.StatusActive})
	if token.profile.with(registered{account: ci, bond: owns}); len(a.interner.profiles) != 0 {
		t.Error("a huge profile is kept for being registered")
	}
	a.plan.place("groups")
	if token.extended(); len(a.interner.profiles) != 0 {
		t.Error("a huge profile is kept for being extended")
	}
}

func TestInternerIsBounded(t *testing.T) {
	var a authority
	for n := range 3 * maxInterned {
		k, made := profileKey{planned: n}, new(profile)
		if got := a.intern(k, func() *profile { return made }); got != made {
			t.Fatal("took another's profile")
		}
		if again := a.intern(k, func() *profile { return new(profile) }); again != made {
			t.Fatal("made again though it is kept")
		}
	}
	if n := len(a.interner.profiles); n > maxInterned {
		t.Errorf("%d are kept, expected %d at most", n, maxInterned)
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
	for _, preset := range append(Presets, "") {
		a := newTestAuthority(t, func(p *Policy) {
			p.Preset, p.Audiences = preset, []string{"a"}
			if PresetHasTrustDomain(preset) {
				p.TrustDomain = "acme.example"
			}
		})
		r := described(t, a, payload)
		for _, path := range paths {
			var list []string
			if value, ok := whole.lookup(path); ok {
				list, _ = scalars(value)
			}
			for _, r := range []*Token{r, r.extended(), described(t, a, payload)} { // read anew, and at hand
				p := unregistered(t, r)
				if got := p.Claim(path); !slices.Equal(got, list) {
					t.Errorf("preset %q: %s reads %q, expected %q", preset, path, got, list)
				}
				v := p.claim(path)
				if got := slices.Collect(v.elements); !v.text.Partial && !slices.Equal(got, list) {
					t.Errorf("preset %q: %s is %q, expected %q", preset, path, got, list)
				}
				for _, one := range list {
					if !p.claimHasAny(path, literals([]string{"?", one})) || p.claimHasAny(path, literals([]string{one + "?"})) {
						t.Errorf("preset %q: %s has %q, and not that and more: found otherwise", preset, path, one)
					}
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
		r.say(test.claims, test.subject, test.client, nil)
		p := &Principal{Token: &r}
		if p.Subject() != test.subject || p.ClientID() != test.client || r.claims() != test.claims {
			t.Errorf("%.40q: found %.40q, %.40q, %.40q", test.claims, r.claims(), p.Subject(), p.ClientID())
		}
	}
}

// Callers with one profile and one account share what the two make together.
func TestRegisteredProfileIsShared(t *testing.T) {
	a := newTestAuthority(t, nil)
	ci := declare(t, account.Draft{Subject: "ci", Issuer: "acme", Status: account.StatusActive, Groups: []string{"b", "c"}})
	p := described(t, a, `{"sub":"ci","exp":9,"groups":["a","b"]}`).profile
	own := registered{account: ci, bond: owns}
	joined := p.with(own)
	if joined != p.with(own) || p.with(registered{}) != p {
		t.Error("the same account made another profile")
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(joined.groups.list, want) || joined.kind != KindServiceAccount || joined.registered != own {
		t.Errorf("found %+v, expected the groups %v of a service account", joined, want)
	}
	if slices.Contains(p.groups.list, "c") || p.registered.account != nil {
		t.Error("the token's own profile was changed")
	}
}
