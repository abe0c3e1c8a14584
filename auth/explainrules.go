package auth

import (
	"fmt"
	"strings"
	"time"
)

// HoldRules adds to what was found of a token what a route's rules make of its caller.
// Where the caller is not let in that far, they are not asked.
func (e *Explanation) HoldRules(p *Predicate) {
	for _, check := range p.checks {
		if e.caller == nil {
			e.Rules = append(e.Rules, Rule{Rule: check.name})
			continue
		}
		expected, found := check.shown(p, e.caller)
		e.add(check.name, check.run(p, e.caller), expected, found)
	}
}

func (p *Predicate) showIssuer(caller *Principal) (any, any) { return p.rules.Issuers, caller.Issuer() }

func (p *Predicate) showAudience(caller *Principal) (any, any) {
	return p.rules.Audiences, caller.readClaim("aud").list
}

func (p *Predicate) showKind(caller *Principal) (any, any) {
	if p.rules.ServiceAccount == "only" {
		return string(KindServiceAccount), string(caller.Kind())
	}
	return string(KindUser), string(caller.Kind())
}

func (p *Predicate) showGroups(caller *Principal) (any, any) {
	return alternatives(p.rules.Groups), caller.Groups()
}

func (p *Predicate) showClaims(caller *Principal) (any, any) {
	var expected, found []string
	for _, claim := range p.rules.Claims {
		expected = append(expected, claim.Path+" "+strings.Join(claim.Values, " or "))
		found = append(found, claim.Path+" "+shownList(caller.readClaim(claim.Path).list))
	}
	return expected, found
}

func (p *Predicate) showACR(caller *Principal) (any, any) {
	return p.rules.ACR, shownList(caller.readClaim("acr").list)
}

func (p *Predicate) showAuthTime(caller *Principal) (any, any) {
	expected := fmt.Sprintf("auth_time within %s before %s (now), with leeway", p.rules.AuthenticatedWithin, p.now().UTC().Format(time.RFC3339))
	return expected, "auth_time " + shownList(caller.readClaim("auth_time").list)
}

func (p *Predicate) showScopes(caller *Principal) (any, any) {
	return append(append([]string{}, p.rules.Scopes...), alternatives(p.rules.AnyScopes)...), caller.Scopes()
}

// alternatives shows lines of which any word will do.
func alternatives(lines [][]string) (list []string) {
	for _, line := range lines {
		list = append(list, strings.Join(line, " or "))
	}
	return list
}

func shownList(list []string) string {
	if len(list) == 0 {
		return "absent"
	}
	return strings.Join(list, ", ")
}
