package auth

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

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
	if first.token.planned != 0 {
		t.Errorf("a token has %d values at hand that nobody had asked for", first.token.planned)
	}
	for _, token := range []string{cached, later, cached, later} {
		p := letIn(t, v, token)
		if int(p.token.planned) != len(paths) {
			t.Errorf("%s has %d values at hand, expected %d", p, p.token.planned, len(paths))
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
	if same := letIn(t, v, cached); same.token != letIn(t, v, cached).token {
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
	if n := len(p.profile.authority.plan.list()); n != maxPlanned || int(p.token.planned) != n {
		t.Errorf("%d claims are planned and %d at hand, expected %d", n, p.token.planned, maxPlanned)
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
		case "text", "json", "planned", "profile", "admitted", "unrevoked", "asked":
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
