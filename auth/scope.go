package auth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// scopes lists the scopes that the token names, and those that they include.
func (a *authority) scopes(c claimSet) (list []string) {
	for _, path := range a.preset.scopes {
		if value, ok := c.lookup(path); ok && value.Kind() != 'n' {
			list = c.words(path)
			break
		}
	}
	if len(a.included) == 0 {
		return list
	}
	for _, scope := range list { // as it was written
		for _, included := range a.included[scope] {
			if !slices.Contains(list, included) {
				list = append(list, included)
			}
		}
	}
	return list
}

// IncludedScopes gives for each scope of [Policy.ScopeIncludes] all that it includes,
// directly or not, sorted. The error names a scope that includes itself, or what is no
// scope.
func IncludedScopes(includes map[string][]string) (map[string][]string, error) {
	all := make(map[string][]string, len(includes))
	var collect func(scope string, way []string) error
	collect = func(scope string, way []string) error {
		if slices.Contains(way, scope) {
			return fmt.Errorf("scope_includes: found the circle %s, expected scopes that do not include themselves", strings.Join(append(way, scope), " > "))
		}
		if _, done := all[scope]; done || includes[scope] == nil {
			return checkScope("scope_includes", scope)
		}
		var list []string
		for _, included := range includes[scope] {
			if err := collect(included, append(way[:len(way):len(way)], scope)); err != nil {
				return err
			}
			list = append(append(list, included), all[included]...)
		}
		slices.Sort(list)
		all[scope] = slices.Compact(list)
		return nil
	}
	for _, scope := range slices.Sorted(maps.Keys(includes)) {
		if err := checkScope("scope_includes", scope); err != nil {
			return nil, err
		}
		if len(includes[scope]) == 0 {
			return nil, fmt.Errorf("scope_includes %s: expected at least one scope that it includes", scope)
		}
		if err := collect(scope, nil); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func checkScope(option, scope string) error {
	if isScopeToken(scope) {
		return nil
	}
	return fmt.Errorf("%s: %q is no scope: expected printable ASCII without spaces, quotes and backslashes (RFC 6749, section 3.3)", option, scope)
}

// isScopeToken is RFC 6749, section 3.3: 1*( %x21 / %x23-5B / %x5D-7E ).
func isScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}
