package auth

import (
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// profile is what many callers have in common: what their tokens say alike, the key
// that signed them, and the account they are registered as. It never changes, so
// that one copy serves all their tokens.
type profile struct {
	profileKey
	authority  *authority
	groups     value
	scopes     value
	values     []value // of the shared claims, by their place in the plan
	activeTill int64   // when the accounts stop being active, Unix seconds; 0 without one

	bytes   int64        // that it takes
	holders atomic.Int64 // tokens of the cache, which count it once
}

// profileKey is what a profile is made of.
type profileKey struct {
	key        *issuer.Key
	kind       Kind
	idToken    bool       // the token looks like an ID token
	claims     string     // the JSON of the claims that the tokens say alike
	planned    int        // how much of the plan it holds
	registered registered // nothing in that of a token
}

// profileOf gives the profile of a token with these claims, some of them shared.
func (a *authority) profileOf(c, shared claimSet, plan []string, key *issuer.Key, idToken bool) *profile {
	kind, _ := a.kind(c)
	if kind == KindUnclear {
		a.unclearSeen.Add(1)
	}
	k := profileKey{key: key, kind: kind, idToken: idToken, claims: shared.json(), planned: len(plan)}
	return a.intern(k, func() *profile {
		return a.newProfile(k, listOf(a.groups(c)), listOf(a.scopes(c)), shared.values(plan))
	})
}

func (a *authority) newProfile(k profileKey, groups, scopes value, values []value) *profile {
	p := &profile{profileKey: k, authority: a, groups: groups, scopes: scopes, values: values, activeTill: k.registered.activeTill()}
	p.bytes = int64(unsafe.Sizeof(*p)) + textBytes(k.claims) + groups.bytes() + scopes.bytes()
	for i := range values {
		p.bytes += int64(unsafe.Sizeof(values[i])) + values[i].bytes()
	}
	return p
}

// with gives the profile of callers about whom that is registered. Whose account it
// is, is a service account whatever the token looks like.
func (p *profile) with(found registered) *profile {
	if found.account == nil {
		return p
	}
	k := p.profileKey
	k.registered = found
	own := found.own()
	if own != nil {
		k.kind = KindServiceAccount
	}
	return p.authority.intern(k, func() *profile {
		groups := p.groups
		if own != nil {
			list := slices.Clone(groups.list)
			for _, group := range own.Groups() {
				if !slices.Contains(list, group) {
					list = append(list, group)
				}
			}
			groups = listOf(list)
		}
		return p.authority.newProfile(k, groups, p.scopes, p.values)
	})
}

// extended gives the profile of a token whose values of a longer plan are at hand.
func (p *profile) extended(plan []string) *profile {
	k := p.profileKey
	k.planned = len(plan)
	return p.authority.intern(k, func() *profile {
		shared, _ := parseClaims([]byte(p.claims)) // it was made of what was read
		return p.authority.newProfile(k, p.groups, p.scopes, shared.values(plan))
	})
}

// counted gives the bytes to count for one more token of the cache that has it, or
// not to count any more for one less.
func (p *profile) counted(change int64) int64 {
	if others := p.holders.Add(change) - max(change, 0); others > 0 {
		return 0
	}
	return p.bytes
}

func (a *authority) subject(c claimSet) (string, *Refusal) {
	path := a.SubjectClaim
	if path == "" {
		path = "sub"
	}
	value, ok := c.lookup(path)
	if !ok {
		return "", ErrNoSubject
	}
	subject, ok := stringOf(value)
	if !ok {
		return "", ErrMalformedClaims
	}
	if subject == "" {
		return "", ErrNoSubject
	}
	return subject, nil
}

func (a *authority) client(c claimSet) string {
	for _, path := range a.preset.clients {
		if list := c.texts(path); len(list) == 1 {
			return list[0]
		}
	}
	return ""
}

// texts gives a claim of groups as a list: in some presets the names of an object's
// members are the groups.
func (a *authority) texts(c claimSet, path string) (list []string) {
	value, _ := c.lookup(path)
	if !a.preset.projectRoles || value.Kind() != '{' {
		return c.texts(path)
	}
	members, _ := parseClaims(value) // it is part of what was read
	for _, member := range members {
		list = append(list, string(member.Name))
	}
	return list
}

func (a *authority) groups(c claimSet) (list []string) {
	for _, path := range a.preset.groups {
		for _, group := range a.texts(c, path) {
			if !slices.Contains(list, group) {
				list = append(list, group)
			}
		}
	}
	return list
}

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

// split parts a token's claims into its own and those that tokens of an issuer say
// alike: who issued it for whom, and the groups and scopes. A claim that is taken for
// such, and is not, costs memory and nothing else.
func (a *authority) split(c claimSet) (own, shared claimSet) {
	own, shared = make(claimSet, 0, len(c)), make(claimSet, 0, len(c))
	for i := range c {
		name := string(c[i].Name)
		leads := func(path string) bool {
			rest, found := strings.CutPrefix(path, name)
			return found && (rest == "" || rest[0] == '.')
		}
		if slices.Contains(alwaysShared, name) || slices.ContainsFunc(a.preset.groups, leads) || slices.ContainsFunc(a.preset.scopes, leads) {
			shared = append(shared, c[i])
		} else {
			own = append(own, c[i])
		}
	}
	return own, shared
}

var alwaysShared = []string{"iss", "aud", "tid", "ver", "typ"}

const (
	// maxInterned is how many profiles are kept; when it is full, the interner
	// starts anew. What was taken from it stays good.
	maxInterned = 1024

	// maxShared is the longest JSON of shared claims, in bytes, that is interned.
	// What is longer is kept with the token, and goes with it.
	maxShared = 2048
)

// intern gives the one copy of the profile of a key, after making it if there is none.
func (a *authority) intern(k profileKey, create func() *profile) *profile {
	if len(k.claims) > maxShared {
		return create()
	}
	i := &a.interner
	i.mu.Lock()
	defer i.mu.Unlock()
	if kept, ok := i.profiles[k]; ok {
		return kept
	}
	if i.profiles == nil || len(i.profiles) >= maxInterned {
		i.profiles = make(map[profileKey]*profile)
	}
	made := create()
	i.profiles[k] = made
	return made
}
