package auth

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Token is a token that was verified: what it says, and what it still depends
// on. It is shared by all requests with that token.
//
// There may be very many, so it is one struct and one text, whatever is asked of
// it: each object more costs the garbage collector time with each of its rounds.
type Token struct {
	sum      fingerprint
	text     string // a table, what it tells of, and the JSON of the token's own claims
	until    int64  // when it stops to count, Unix seconds: exp and the leeway
	fresh    int64  // until when its issuer's answer about it serves, Unix seconds; 0: it was not asked for one
	profile  *profile
	admitted atomic.Pointer[Principal] // as whom it was last let in
	first    Principal                 // room for the first of these; few tokens have another
	taken    atomic.Bool               // the room is
	// unrevoked is the version of the revocations by which it was found not to be
	// revoked; 0: it was not looked for.
	unrevoked atomic.Uint64
	asked     atomic.Bool // since the cache last looked
	json      uint16      // where the JSON begins
	planned   uint8       // how much of the plan the table holds
	bound     bool        // to a key
	vouched   bool        // its issuer says what it says, and no key signed it
}

// Issuer is the configured name of the token's issuer.
func (t *Token) Issuer() string { return t.profile.authority.Name }

// Subject is the caller's name at the issuer; never empty.
func (t *Token) Subject() string { return t.entry(atSubject).text.Value }

// ClientID is the OAuth 2.0 client the token was issued to; empty if it does not
// say.
func (t *Token) ClientID() string { return t.entry(atClient).text.Value }

// claims is the JSON of the token's own claims.
func (t *Token) claims() string { return t.text[t.json:] }

// holds tells whether the token still counts: its key is still its issuer's,
// and it has not expired.
func (t *Token) holds(now int64) bool {
	return now < t.until && (t.vouched || t.profile.key.TrustedAt(now))
}

// isFresh tells whether the token may be let in without asking its issuer again.
func (t *Token) isFresh(now int64) bool { return t.fresh == 0 || now < t.fresh }

// bytes is the memory that the token takes in a [cache] by itself. What it may be
// registered as counts from the beginning: it takes as much as what the token says.
func (t *Token) bytes() int64 {
	registered := int64(unsafe.Sizeof(profile{})) + t.profile.groups.bytes()
	return cacheEntry + int64(unsafe.Sizeof(Token{})) + textBytes(t.text) + registered
}

// principal makes the principal of a profile.
func (t *Token) principal(p *profile) *Principal {
	if t.taken.Swap(true) {
		return &Principal{Token: t, profile: p}
	}
	t.first.Token, t.first.profile = t, p // nobody else has it yet
	return &t.first
}

// textBytes is the memory of a text, rounded up as the allocator does.
func textBytes(s string) int64 { return (int64(len(s)) + 15) &^ 15 }

// describe reads the caller out of the claims of a token that was verified.
func (a *authority) describe(t *Token, h *header, c claimSet, key *issuer.Key) *Refusal {
	said, present := c.lookup(cmp.Or(a.SubjectClaim, "sub"))
	subject, isText := stringOf(said)
	switch _, ok := c.text("jti"); {
	case !present, isText && subject == "":
		return ErrNoSubject
	case !isText, !ok:
		return ErrMalformedClaims
	}
	client := ""
	for _, path := range a.preset.clients {
		if list := c.texts(path); len(list) == 1 {
			client = list[0]
			break
		}
	}
	expiry, _, _ := jose.Object(c).Date("exp")
	t.until = int64(math.Floor(expiry)) + int64(a.leeway)
	own, shared := a.split(c)
	plan := a.plan.list()
	t.bound = c.present("cnf")
	idToken := a.AcceptIDTokens && a.checkType(h, c, false) != nil || a.preset.alike // nothing but the option, or the preset, lets it in
	kind, _ := a.kind(c)
	if kind == KindUnclear {
		a.unclearSeen.Add(1)
	}
	k := profileKey{key: key, kind: kind, idToken: idToken, claims: shared.json(), planned: len(plan)}
	t.profile = a.intern(k, func() *profile {
		return a.newProfile(k, listOf(a.groups(c)), listOf(a.scopes(c)), shared.values(plan))
	})
	t.say(own.json(), subject, client, own.values(plan))
	return nil
}

// extended gives the token with the values of a longer plan at hand.
func (t *Token) extended() *Token {
	plan := t.profile.authority.plan.list()
	own, _ := parseClaims([]byte(t.claims())) // it was made of what was read
	p := t.profile
	k := p.profileKey
	k.planned = len(plan)
	extended := p.authority.intern(k, func() *profile {
		shared, _ := parseClaims([]byte(p.claims)) // it was made of what was read
		return p.authority.newProfile(k, p.groups, p.scopes, shared.values(plan))
	})
	again := &Token{sum: t.sum, until: t.until, fresh: t.fresh, bound: t.bound, vouched: t.vouched, profile: extended}
	again.say(t.claims(), t.Subject(), t.ClientID(), own.values(plan))
	return again
}

// A token's text begins with a table of the values that requests need. An entry is
// of five bytes: where the value's text begins and ends, and its form with the marks.
// The texts follow, each once, and then the JSON, which few requests need: what is
// needed together is in the same few lines of a processor's cache.
const (
	entryBytes = 5

	formMask    = 1<<4 - 1
	markPlain   = 1 << 4
	markPartial = 1 << 5
)

// The first entries of the table; those of the plan follow.
const (
	atSubject = iota
	atClient
	atPlanned
)

// say writes the text.
func (t *Token) say(claims, subject, client string, planned []value) {
	entries := append([]value{textValue(subject), textValue(client)}, planned...)
	first := len(entries) * entryBytes
	text := make([]byte, first, first+len(claims)+256)
	for i, v := range entries {
		if len(text)+len(v.text.Value) > math.MaxUint16 {
			v = value{form: formUnread}
		}
		at := bytes.Index(text[first:], []byte(v.text.Value)) + first
		if at < first {
			at = len(text)
			text = append(text, v.text.Value...)
		}
		marks := byte(v.form)
		if v.text.Plain {
			marks |= markPlain
		}
		if v.text.Partial {
			marks |= markPartial
		}
		entry := text[i*entryBytes:]
		binary.LittleEndian.PutUint16(entry, uint16(at))
		binary.LittleEndian.PutUint16(entry[2:], uint16(at+len(v.text.Value)))
		entry[4] = marks
	}
	t.json, t.planned = uint16(len(text)), uint8(len(planned))
	t.text = string(append(text, claims...))
}

// entry gives what the table says at a place, without a list. What the token's own
// claims do not say, those may that it shares.
func (t *Token) entry(place int) value {
	entry := t.text[place*entryBytes:][:entryBytes]
	from, to, marks := uint16(entry[0])|uint16(entry[1])<<8, uint16(entry[2])|uint16(entry[3])<<8, entry[4]
	if form(marks&formMask) == formAbsent {
		return t.profile.values[place-atPlanned]
	}
	return value{
		text: Text{Value: t.text[from:to], Plain: marks&markPlain != 0, Partial: marks&markPartial != 0},
		form: form(marks & formMask),
	}
}

// profile is what many callers have in common: what their tokens say alike, the key
// that signed them, and the account they are registered as. It never changes, so
// that one copy serves all their tokens.
type profile struct {
	profileKey
	authority  *authority
	groups     value
	scopes     value
	values     []value // of the shared claims, by their place in the plan
	activeTill int64   // until when the accounts let the caller in, Unix seconds; 0 without one

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

func (a *authority) newProfile(k profileKey, groups, scopes value, values []value) *profile {
	p := &profile{profileKey: k, authority: a, groups: groups, scopes: scopes, values: values}
	if k.registered.bond >= registers { // else whether it must be registered depends on the configuration
		p.activeTill = math.MaxInt64
	}
	for _, known := range []*account.Account{k.registered.account, k.registered.other} {
		switch {
		case known == nil:
		case known.Traits().Inactive:
			p.activeTill = 0
		case known.Expires != 0:
			p.activeTill = min(p.activeTill, known.Expires)
		}
	}
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
	if found.bond == owns {
		k.kind = KindServiceAccount
	}
	return p.authority.intern(k, func() *profile {
		groups := p.groups
		if found.bond == owns {
			list := slices.Clone(groups.list)
			for _, group := range found.account.Groups() {
				if !slices.Contains(list, group) {
					list = append(list, group)
				}
			}
			groups = listOf(list)
		}
		return p.authority.newProfile(k, groups, p.scopes, p.values)
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

// groups lists the caller's groups, each once. In some presets the names of an object's
// members are the groups.
func (a *authority) groups(c claimSet) (list []string) {
	for _, path := range a.preset.groups {
		named := c.texts(path)
		if a.preset.projectRoles {
			value, _ := c.lookup(path)
			members, _ := parseClaims(value) // none, unless it is an object
			for _, member := range members {
				named = append(named, string(member.Name))
			}
		}
		for _, group := range named {
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
			// A text is split at spaces (RFC 6749, section 3.3), an array is not.
			list = stringsOf(value)
			if s, ok := stringOf(value); ok {
				list = strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
			}
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
