package auth

import (
	"math"
	"slices"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// standing is what many callers have in common: what their tokens say alike, the
// key that signed them, and the account they are registered as. It never changes,
// so that one copy serves all their tokens.
type standing struct {
	authority  *authority
	key        *issuer.Key
	kind       Kind
	claims     string // the JSON of the claims that the tokens say alike
	groups     values
	scopes     values
	idToken    bool // the token looks like an ID token
	registered registered
	good       int64 // until when the accounts are, Unix seconds; 0 without one
	shared     bool  // by tokens that say the same
	part       *part // what one without an account takes
}

// standing gives the one of a token whose claims in common are these.
func (a *authority) standing(c claimSet, common string, key *issuer.Key, idToken bool) *standing {
	kind, _ := a.kind(c)
	if kind == KindUnclear {
		a.unclearSeen.Add(1)
	}
	shared := len(common) <= maxShared
	create := func() *standing {
		s := &standing{
			authority: a,
			key:       key,
			kind:      kind,
			idToken:   idToken,
			claims:    common,
			groups:    newValues(a.groups(c), true),
			scopes:    newValues(a.scopes(c), true),
			shared:    shared,
		}
		s.part = &part{bytes: s.bytes()}
		return s
	}
	if !shared {
		return create()
	}
	return a.shelves.standings.take(signedAs{key, kind, idToken, common}, create)
}

// bytes is the memory that it takes.
func (s *standing) bytes() int64 {
	return int64(unsafe.Sizeof(standing{})+unsafe.Sizeof(part{})) + textBytes(s.claims) + s.groups.bytes() + s.scopes.bytes()
}

// signedAs is what a standing without an account is made of.
type signedAs struct {
	key     *issuer.Key
	kind    Kind
	idToken bool
	claims  string
}

// as gives the standing of callers about whom that is registered. Whose account it
// is, is a service account whatever the token looks like.
func (s *standing) as(found registered) *standing {
	if found.account == nil {
		return s
	}
	create := func() *standing {
		joined := *s
		joined.registered, joined.good = found, found.good()
		if own := found.own(); own != nil {
			joined.kind = KindServiceAccount
			joined.groups = newValues(join(s.groups.list, own.Groups()), true)
		}
		return &joined
	}
	if !s.shared {
		return create()
	}
	return s.authority.shelves.registered.take(registeredAs{s, found}, create)
}

// registeredAs is what a standing with an account is made of.
type registeredAs struct {
	standing   *standing
	registered registered
}

// goodUntil is when an account stops being good by itself, in Unix seconds; 0 for
// one that is switched off.
func goodUntil(a *account.Account) int64 {
	switch {
	case a.Status() == account.StatusInactive:
		return 0
	case a.ExpiresAt().IsZero():
		return math.MaxInt64
	}
	return a.ExpiresAt().Unix()
}

// join gives the elements of both lists, each once.
func join(a, b []string) []string {
	joined := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(joined, s) {
			joined = append(joined, s)
		}
	}
	return joined
}

// split parts a token's claims into its own and those that it has in common
// with many: who issued it for whom, and the groups and scopes. Each part is a
// JSON object.
func (a *authority) split(c claimSet) (own, common []byte) {
	own, common = make([]byte, 0, 512), make([]byte, 0, 512)
	for i := range c {
		if a.isCommon(c[i].name) {
			common = appendMember(common, c[i])
			continue
		}
		own = appendMember(own, c[i])
	}
	return closeObject(own), closeObject(common)
}

// isCommon tells the claims that tokens of an issuer say alike. One that is
// taken for such, and is not, costs memory and nothing else.
func (a *authority) isCommon(name []byte) bool {
	switch string(name) {
	case "iss", "aud", "tid", "ver", "typ":
		return true
	}
	return slices.ContainsFunc(a.preset.groups, func(path string) bool { return leads(path, name) }) ||
		slices.ContainsFunc(a.preset.scopes, func(path string) bool { return leads(path, name) })
}

// leads tells whether a claim's path may begin with that top-level claim.
func leads(path string, name []byte) bool {
	return len(path) >= len(name) && path[:len(name)] == string(name) &&
		(len(path) == len(name) || path[len(name)] == '.')
}

func appendMember(object []byte, c claim) []byte {
	separator := byte(',')
	if len(object) == 0 {
		separator = '{'
	}
	object, _ = jsontext.AppendQuote(append(object, separator), c.name) // a valid name was read
	return append(append(object, ':'), c.value...)
}

func closeObject(object []byte) []byte {
	if len(object) == 0 {
		object = append(object, '{')
	}
	return append(object, '}')
}
