package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// nobody is a registry without accounts.
type nobody struct{}

func (nobody) Lookup(string, string) (*account.Account, bool) { return nil, false }
func (nobody) Version() uint64                                { return 1 }
func (nobody) Loaded() bool                                   { return true }

// shownBy is what a rule of an explanation shows as expected and found; empty: there is none.
func shownBy(e Explanation, rule string) string {
	at := slices.IndexFunc(e.Rules, func(r bound.Rule) bool { return r.Rule == rule })
	if at < 0 {
		return ""
	}
	return fmt.Sprint(e.Rules[at].Expected, e.Rules[at].Found)
}

func ruleNames(e Explanation) (names []string) {
	for _, rule := range e.Rules {
		names = append(names, rule.Rule)
	}
	return names
}

// broken lists the rules that do not hold, and those that were not asked.
func broken(e Explanation) (not, open []string) {
	for _, rule := range e.Rules {
		if rule.Held == nil {
			open = append(open, rule.Rule)
		} else if !*rule.Held {
			not = append(not, rule.Rule)
		}
	}
	return not, open
}

func TestExplainAgreesWithVerify(t *testing.T) {
	g := newGate(t, "ES256")
	v := g.verifier()
	registration := &Registration{Accounts: nobody{}, Required: true}
	good := g.idp.Mint(map[string]any{"exp": at(time.Hour), "iat": at(0)})
	for name, token := range map[string]string{
		"good":      good,
		"garbage":   "garbage",
		"expired":   g.idp.Mint(map[string]any{"exp": at(-time.Hour), "iat": at(-2 * time.Hour)}),
		"audience":  g.idp.Mint(map[string]any{"exp": at(time.Hour), "iat": at(0), "aud": "x"}),
		"issuer":    g.idp.Mint(map[string]any{"exp": at(time.Hour), "iss": "https://x.example.com"}),
		"subject":   g.idp.Mint(map[string]any{"exp": at(time.Hour), "iat": at(0), "sub": ""}),
		"signature": good[:len(good)-6] + "AAAAAA",
		"machine":   g.idp.Mint(map[string]any{"exp": at(time.Hour), "iat": at(0), "gty": "client-credentials"}),
	} {
		e := v.Explain(context.Background(), token, registration, nil, nil)
		verdict := v.Verify(context.Background(), token)
		if verdict.Refusal == nil {
			_, verdict.Refusal = registration.Admit(verdict.Token, verdict.At)
		}
		if reasonOf(e.Refusal) != reasonOf(verdict.Refusal) || e.Issuer != verdict.Issuer {
			t.Errorf("%s: explained as %q of %q, verified as %q of %q", name, reasonOf(e.Refusal), e.Issuer, reasonOf(verdict.Refusal), verdict.Issuer)
		}
		want := []string{"bearer", "form", "issuer", "algorithm", "type", "expiry", "begin", "lifetime", "audience", "binding", "signature", "subject", "still_good", "revocation", "kind", "account"}
		if names := ruleNames(e); !slices.Equal(names, want) {
			t.Errorf("%s: the rules are %v, want %v", name, names, want)
		}
		for _, rule := range e.Rules {
			if rule.Held != nil && rule.Expected == nil && rule.Rule != "revocation" {
				t.Errorf("%s: %s does not say what was expected", name, rule.Rule)
			}
		}
		not, open := broken(e)
		if (e.Refusal == nil) != (len(not) == 0) || e.Refusal == nil && len(open) > 0 {
			t.Errorf("%s: %v are broken and %v open, with %v", name, not, open, e.Refusal)
		}
	}
}

func reasonOf(r *Refusal) string {
	if r == nil {
		return ""
	}
	return r.Reason
}

// All of the policy's rules are shown, so that not one fault after the other
// must be found.
func TestExplainShowsEveryFaultOfThePolicy(t *testing.T) {
	g := newGate(t, "ES256")
	token := g.idp.Mint(map[string]any{"exp": at(-time.Hour), "iat": at(-2 * time.Hour), "aud": "x", "cnf": map[string]any{}})
	e := g.verifier().Explain(context.Background(), token, &Registration{Accounts: nobody{}}, nil, nil)
	not, open := broken(e)
	if !slices.Equal(not, []string{"expiry", "audience", "binding"}) || !slices.Equal(open, []string{"signature", "subject", "still_good", "revocation", "kind", "account"}) {
		t.Errorf("%v are broken and %v open", not, open)
	}
	if e.Refusal != ErrExpired {
		t.Errorf("the verdict is %v, want that of the first", e.Refusal)
	}
}

func TestExplainRemembersNothingAndShowsNoSignature(t *testing.T) {
	g := newGate(t, "ES256")
	v := g.verifier()
	token := g.idp.Mint(map[string]any{"exp": at(time.Hour), "iat": at(0)})
	e := v.Explain(context.Background(), token, &Registration{Accounts: nobody{}}, nil, nil)
	if n, _ := v.Cached(); e.Refusal != nil || n != 0 {
		t.Errorf("got %v, and %d tokens in the cache", e.Refusal, n)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(token, ".") {
		if strings.Contains(string(text), part) {
			t.Errorf("a part of the token is shown: %s", text)
		}
	}
	if !json.Valid(e.Claims) || !strings.Contains(string(e.Claims), `"sub"`) {
		t.Errorf("the claims are %s", e.Claims)
	}
}

// What an operator got wrong is said where it shows: the claim that names the client, the
// one that a preset reads, a scheme that differs.
func TestExplainNamesTheSlip(t *testing.T) {
	g := newGate(t, "ES256")
	times := map[string]any{"exp": at(time.Hour), "iat": at(0)}
	mint := func(more map[string]any) string {
		claims := maps.Clone(times)
		maps.Copy(claims, more)
		return g.idp.Mint(claims)
	}
	policy := func(change func(*Policy)) *Verifier {
		return g.verifier(func(c *VerifierConfig) { change(&c.Issuers[0].Policy) })
	}
	needs, err := Rules{Scopes: []string{"read"}}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		verifier *Verifier
		token    string
		rule     string
		found    []string // parts of what is shown as expected and found
	}{
		{"the client is in another claim", policy(func(p *Policy) {
			p.Kinds = []KindRule{{KindUser, "azp", []string{"web"}}}
		}), mint(map[string]any{"azp": nil, "sid": nil, "client_id": "web"}), "kind", []string{"user when azp is web", "unclear, by none of these claims; the client is web"}},
		{"no client", policy(func(*Policy) {}), mint(map[string]any{"azp": nil, "sid": nil}), "kind", []string{"no claim names the client"}},
		{"the cause says what it may be", policy(func(*Policy) {}), mint(map[string]any{"azp": nil, "sid": nil}), "account", []string{"first make sure that it is an access token"}},
		{"an ID token", policy(func(p *Policy) { p.Audiences = []string{"web"} }), mint(map[string]any{"azp": "web", "aud": "web", "sid": nil}), "kind", []string{"the client is web, and so is aud, as in an ID token"}},
		{"scopes in another claim", policy(func(p *Policy) { p.Preset, p.Kind = "entra", KindUser }),
			mint(map[string]any{"azp": "web", "scope": "read write"}), "route_scope", []string{"none in scp; the token has scope: read write"}},
		{"no scopes", policy(func(p *Policy) { p.Preset, p.Kind = "dex", KindUser }),
			mint(map[string]any{"at_hash": "x", "scope": "read"}), "route_scope", []string{"the preset reads no scopes"}},
		{"too many groups", policy(func(p *Policy) { p.Preset, p.Kind, p.GroupsClaim = "entra", KindUser, "groups" }),
			mint(map[string]any{"azp": "web", "_claim_names": map[string]any{"groups": "src1"}}), "groups", []string{"groups in groups", "the issuer left them out of the token"}},
		{"too many groups for a token by implicit flow", policy(func(*Policy) {}), mint(map[string]any{"sid": "s", "hasgroups": true}), "groups", []string{"the issuer left them out"}},
		{"another preset", policy(func(p *Policy) { p.Preset = "okta" }), g.idp.Mint(times, idp.WithHeader("typ", "JWT")), "type", []string{"no claim cid, as access tokens of the preset okta have"}},
		{"another preset, cognito", policy(func(p *Policy) { p.Preset = "cognito" }), mint(nil), "type", []string{"no claim token_use", "preset cognito"}},
		{"no audience", policy(func(*Policy) {}), mint(map[string]any{"aud": idp.Absent}), "audience", []string{"none: the token has no aud", "preset cognito"}},
		{"an empty audience", policy(func(*Policy) {}), mint(map[string]any{"aud": []string{}}), "audience", []string{"none"}},
		{"an opaque token", policy(func(*Policy) {}), "opaque", "form", []string{"1 part, as opaque tokens have"}},
		{"another scheme", policy(func(*Policy) {}), mint(map[string]any{"iss": schemeTwin(g.policy().Issuer)}), "issuer", []string{"by the scheme only"}},
	} {
		e := c.verifier.Explain(t.Context(), c.token, &Registration{Accounts: nobody{}, Required: true}, nil, nil)
		e.HoldRules(needs)
		if n := strings.Count(fmt.Sprint(e.Rules), methods.shown+";"); n > 1 {
			t.Errorf("%s: the marks stand there %d times", c.name, n)
		}
		shown := shownBy(e, c.rule)
		for _, part := range c.found {
			if !strings.Contains(shown, part) {
				t.Errorf("%s: %s shows %s, expected %q", c.name, c.rule, shown, part)
			}
		}
	}
	for _, more := range []map[string]any{{"groups": []string{"a"}, "hasgroups": true}, {"hasgroups": false}, {"_claim_names": map[string]any{"roles": "src1"}}, {"_claim_names": "groups"}} {
		if names := ruleNames(policy(func(*Policy) {}).Explain(t.Context(), mint(more), &Registration{Accounts: nobody{}}, nil, nil)); slices.Contains(names, "groups") {
			t.Errorf("%v: groups are said to be left out", more)
		}
	}
}
