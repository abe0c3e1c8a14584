package auth

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Rules is what a route asks of a caller whose token is good. The zero value
// asks nothing more.
type Rules struct {
	// Issuers are the names of the issuers let in; empty means all.
	Issuers []string

	// Audiences: the token must be meant for one of them, besides what its
	// issuer's configuration asks; empty asks nothing.
	Audiences []string

	// Scopes must all be granted.
	Scopes []string

	// AnyScopes are lines of scopes: any of each line's must be granted.
	AnyScopes [][]string

	// Groups are lines of groups: the caller must be in any of each line's. They
	// may be patterns, as the values of a [ClaimRule].
	Groups [][]string

	// Claims are lines of values: a claim must have any of each line's.
	Claims []ClaimRule

	// ServiceAccount is "only", "deny" or empty for both kinds of callers. Who
	// is neither for sure is let in by neither.
	ServiceAccount string

	// ACR are the values of the claim acr of which one will do: how the caller
	// logged in (OpenID Connect Core 1.0, section 2). Empty asks nothing.
	ACR []string

	// AuthenticatedWithin is how long ago, at most, the caller may have logged in,
	// by the claim auth_time; zero asks nothing.
	AuthenticatedWithin time.Duration

	// Now is the clock that tells how long ago that was; nil means time.Now.
	Now func() time.Time
}

// ClaimRule asks for a claim with one of some values. Numbers and booleans are
// compared as they are written in the token; of an array any element will do.
//
// A * in a value stands for at least one character: at the end for whatever
// follows, and between two of the separators / : . | @ # for what stands there
// without either of the two. Written \* it is an ordinary character.
type ClaimRule struct {
	Path   string
	Values []string
}

// Predicate is a compiled set of rules, safe for concurrent use.
type Predicate struct {
	rules     Rules
	checks    []*ruleCheck // those that the rules ask for
	audiences patterns
	groups    []patterns
	claims    []claimPatterns
	acr       patterns
	within    float64 // seconds; 0: whenever
	now       func() time.Time

	// Refusals that tell what the route asks for.
	scope, weak, old *Refusal
}

// claimPatterns are the values of a [ClaimRule] or a [KindRule], compiled.
type claimPatterns struct {
	path   string
	values patterns
	kind   Kind // of a KindRule
}

// Compile checks the rules and makes them ready for the path of a request. The
// error names the rule that makes no sense.
func (r Rules) Compile() (*Predicate, error) {
	if !slices.Contains([]string{"", "only", "deny"}, r.ServiceAccount) {
		return nil, fmt.Errorf("service_account: found %q, expected only or deny", r.ServiceAccount)
	}
	for i, line := range r.AnyScopes {
		if len(line) == 0 {
			return nil, fmt.Errorf("scope any: line %d names no scope", i+1)
		}
	}
	for _, scope := range r.AskedScopes() {
		if err := checkScope("scope", scope); err != nil {
			return nil, err
		}
	}
	p := &Predicate{rules: r, audiences: literals(r.Audiences), now: r.Now}
	if p.now == nil {
		p.now = time.Now
	}
	for i, line := range r.Groups {
		if len(line) == 0 {
			return nil, fmt.Errorf("group: line %d names no group", i+1)
		}
		groups, err := compilePatterns(line)
		if err != nil {
			return nil, fmt.Errorf("group: %w", err)
		}
		p.groups = append(p.groups, groups)
	}
	for _, claim := range r.Claims {
		if claim.Path == "" || len(claim.Values) == 0 {
			return nil, fmt.Errorf("claim %q: expected a path and at least one value", claim.Path)
		}
		values, err := compilePatterns(claim.Values)
		if err != nil {
			return nil, fmt.Errorf("claim %s: %w", claim.Path, err)
		}
		p.claims = append(p.claims, claimPatterns{path: claim.Path, values: values})
	}
	for i := range ruleChecks {
		if ruleChecks[i].asked(&r) {
			p.checks = append(p.checks, &ruleChecks[i])
		}
	}
	return p, p.compileStepUp()
}

// compileStepUp makes what is asked of the login, and the refusals that tell it. Both
// tell all of it: who logs in anew for one shall not have to do so again for the other.
func (p *Predicate) compileStepUp() error {
	r := &p.rules
	for _, value := range r.ACR {
		if !isScopeToken(value) { // acr_values are separated by spaces, too
			return fmt.Errorf("acr: found %q, expected printable ASCII without spaces, quotes and backslashes", value)
		}
	}
	if r.AuthenticatedWithin < 0 || r.AuthenticatedWithin%time.Second != 0 {
		return fmt.Errorf("authenticated_within: found %s, expected whole seconds", r.AuthenticatedWithin)
	}
	p.acr, p.within = literals(r.ACR), r.AuthenticatedWithin.Seconds()
	scope, weak, old := *ErrScope, *ErrACR, *ErrAuthTime
	scope.Scope = strings.Join(r.AskedScopes(), " ")
	for _, refusal := range []*Refusal{&weak, &old} {
		refusal.ACR, refusal.MaxAge = strings.Join(r.ACR, " "), r.AuthenticatedWithin
	}
	p.scope, p.weak, p.old = &scope, &weak, &old
	return nil
}

// AskedScopes lists the scopes that the rules name, each once: those that must all
// be granted, and then those of which any will do.
func (r Rules) AskedScopes() (list []string) {
	for _, line := range append([][]string{r.Scopes}, r.AnyScopes...) {
		for _, scope := range line {
			if !slices.Contains(list, scope) {
				list = append(list, scope)
			}
		}
	}
	return list
}

// ruleCheck is one thing that a route may ask of a caller.
type ruleCheck struct {
	name  string // [Predicate.show] knows it, too
	asked func(*Rules) bool
	run   func(*Predicate, *Principal) *Refusal
}

// ruleChecks are all of them, in the order in which they are made. Scopes come last:
// a client is asked to get more of them only where that helps; and right before them
// the login, for the same reason.
var ruleChecks = []ruleCheck{
	{"route_issuer", func(r *Rules) bool { return len(r.Issuers) > 0 }, func(p *Predicate, c *Principal) *Refusal {
		if !slices.Contains(p.rules.Issuers, c.Issuer()) {
			return ErrIssuer
		}
		return nil
	}},
	{"route_audience", func(r *Rules) bool { return len(r.Audiences) > 0 }, func(p *Predicate, c *Principal) *Refusal {
		if !c.claimHasAny("aud", p.audiences) {
			return ErrAudience
		}
		return nil
	}},
	{"route_kind", func(r *Rules) bool { return r.ServiceAccount != "" }, func(p *Predicate, c *Principal) *Refusal {
		switch machine := c.profile.kind == KindServiceAccount; {
		case c.profile.kind == KindUnclear:
			return c.profile.authority.unclear
		case p.rules.ServiceAccount == "only" && !machine:
			return ErrOnlyMachines
		case p.rules.ServiceAccount == "deny" && machine:
			return ErrNoMachines
		}
		return nil
	}},
	{"route_group", func(r *Rules) bool { return len(r.Groups) > 0 }, func(p *Predicate, c *Principal) *Refusal {
		for _, line := range p.groups {
			if !slices.ContainsFunc(c.profile.groups.list, line.match) {
				return ErrGroup
			}
		}
		return nil
	}},
	{"route_claim", func(r *Rules) bool { return len(r.Claims) > 0 }, func(p *Predicate, c *Principal) *Refusal {
		for i := range p.claims {
			if !c.claimHasAny(p.claims[i].path, p.claims[i].values) {
				return ErrClaim
			}
		}
		return nil
	}},
	{"route_acr", func(r *Rules) bool { return len(r.ACR) > 0 }, func(p *Predicate, c *Principal) *Refusal {
		if !c.claimHasAny("acr", p.acr) {
			return p.weak
		}
		return nil
	}},
	{"route_auth_time", func(r *Rules) bool { return r.AuthenticatedWithin > 0 }, func(p *Predicate, c *Principal) *Refusal {
		claim := c.claim("auth_time") // a NumericDate
		at, err := strconv.ParseFloat(claim.text.Value, 64)
		if claim.form != formOne || err != nil || !(at >= 0 && at <= jose.MaxDate) {
			return p.old
		}
		ago := float64(p.now().UnixNano())/float64(time.Second) - at
		leeway := c.profile.authority.leeway
		if !(-leeway <= ago && ago <= p.within+leeway) { // a time that is still to come proves nothing
			return p.old
		}
		return nil
	}},
	{"route_scope", func(r *Rules) bool { return len(r.Scopes)+len(r.AnyScopes) > 0 }, func(p *Predicate, c *Principal) *Refusal {
		granted := c.profile.scopes.list
		for _, scope := range p.rules.Scopes {
			if !slices.Contains(granted, scope) {
				return p.scope
			}
		}
		for _, line := range p.rules.AnyScopes {
			if !containsAny(granted, line) {
				return p.scope
			}
		}
		return nil
	}},
}

// Check holds the rules against a caller and gives the first refusal, or nil. It
// allocates nothing once the claims it asks for have been read.
func (p *Predicate) Check(caller *Principal) *Refusal {
	for _, check := range p.checks {
		if refusal := check.run(p, caller); refusal != nil {
			return refusal
		}
	}
	return nil
}

// containsAny tells whether the lists share an element. Both are short.
func containsAny(list, any []string) bool {
	for _, s := range list {
		if slices.Contains(any, s) {
			return true
		}
	}
	return false
}

// pattern is a value that a rule takes: texts in their order, with something that is
// not empty in each gap between two.
type pattern struct {
	texts []string
	stops []string // for each gap, the separators on both of its sides, which end it
	open  bool     // something must follow at the end, whatever it is
}

// patterns are values of which any will do.
type patterns []pattern

// separators are the characters between which a * may stand: those that divide names
// in subjects and groups.
const separators = "/:.|@#"

// compilePattern reads a value as [ClaimRule] tells.
func compilePattern(value string) (p pattern, err error) {
	var text []byte
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '\\' && i+1 < len(value) && value[i+1] == '*' {
			text = append(text, '*')
			i++
			continue
		}
		if c != '*' {
			text = append(text, c)
			continue
		}
		if value == "*" {
			return p, fmt.Errorf(`found *, which every value would fit: write \* for the character itself`)
		}
		if i+1 == len(value) {
			p.open = true
			break
		}
		if i == 0 || strings.IndexByte(separators, value[i-1]) < 0 || strings.IndexByte(separators, value[i+1]) < 0 {
			return p, fmt.Errorf("found %q, expected * only at the end, or between two of the separators %s: write \\* for the character itself", value, separators)
		}
		p.texts = append(p.texts, string(text))
		p.stops = append(p.stops, string([]byte{value[i-1], value[i+1]}))
		text = nil
	}
	p.texts = append(p.texts, string(text))
	return p, nil
}

// compilePatterns reads a list of values.
func compilePatterns(values []string) (patterns, error) {
	list := make(patterns, 0, len(values))
	for _, value := range values {
		p, err := compilePattern(value)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// literals are patterns of texts in which * is a character like others.
func literals(texts []string) patterns {
	list := make(patterns, 0, len(texts))
	for _, text := range texts {
		list = append(list, pattern{texts: []string{text}})
	}
	return list
}

// match tells whether a text fits. There is one way to read it only, as what fills a
// gap holds neither of the separators beside it.
func (p *pattern) match(text string) bool {
	rest, ok := strings.CutPrefix(text, p.texts[0])
	for i, stops := range p.stops {
		end := strings.IndexAny(rest, stops)
		if !ok || end <= 0 {
			return false
		}
		rest, ok = strings.CutPrefix(rest[end:], p.texts[i+1])
	}
	return ok && p.open == (rest != "")
}

// match tells whether a text fits any of the patterns.
func (list patterns) match(text string) bool {
	for i := range list {
		if list[i].match(text) {
			return true
		}
	}
	return false
}
