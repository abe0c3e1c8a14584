package auth

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/introspection"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Policy says what tokens of one issuer must be like and how they are read.
type Policy struct {
	// Issuer is the issuer identifier, exactly as tokens carry it in iss.
	Issuer string

	// Tenants are the tenants whose tokens are taken where the identifier holds
	// [issuer.TenantPlaceholder]: their ids, or the one word any. Only with the preset
	// entra.
	Tenants []string

	// TrustDomain is the SPIFFE trust domain of the tokens' subjects; only with the
	// preset spiffe. Empty: the one that the identifier is, as spiffe://<domain>.
	TrustDomain string

	// Name stands for the issuer in rules, logs and metrics. Required.
	Name string

	// Preset is one of [Presets]; empty reads what most issuers send.
	Preset string

	// Audiences: aud must hold one of them. Required but for the presets whose tokens
	// have none; there they are client ids.
	Audiences []string

	// Algorithms that are accepted; empty means all of [Algorithms]. The key
	// must fit the algorithm in any case.
	Algorithms []string

	// Bound says which tokens are let in that are bound to a key, and which others;
	// zero is [BoundOff].
	Bound Binding

	// Leeway is how far clocks may be apart. Zero means not at all.
	Leeway time.Duration

	// MaxLifetime refuses tokens whose exp - iat is longer; zero: no limit.
	MaxLifetime time.Duration

	// TokenType is the typ header asked for, such as at+jwt (RFC 9068); empty
	// takes at+jwt, and JWT or none without any mark of another kind of token.
	TokenType string

	// AcceptIDTokens also takes tokens with the marks of ID tokens, for issuers
	// whose access tokens look like those. Whatever application somebody logs in
	// to can then act for them here, if the audience does not tell it apart.
	AcceptIDTokens bool

	// Kinds say what callers are by a claim; the first that holds decides.
	Kinds []KindRule

	// Kind, if set, is what every other caller of this issuer is.
	Kind Kind

	// ScopeIncludes says which scopes who has a scope has, too, and those have in
	// turn. It must not lead in a circle.
	ScopeIncludes map[string][]string

	// SubjectClaim, ClientClaim, GroupsClaim and ScopesClaim are paths of
	// claims; empty means the preset's, or what most issuers use.
	SubjectClaim, ClientClaim, GroupsClaim, ScopesClaim string
}

// Validate is an error that names the field, what was found in it and what
// would be right, or nil.
func (p Policy) Validate() error {
	_, err := newAuthority(p, nil)
	return err
}

// check is what [Policy.Validate] finds before anything is compiled.
func (p Policy) check() error {
	if p.Issuer == "" {
		return errors.New("issuer: an issuer identifier is required")
	}
	if p.Name == "" {
		return errors.New("name: a name for the issuer is required")
	}
	if _, ok := presets[p.Preset]; !ok && p.Preset != "" {
		return fmt.Errorf("preset: found %q, expected one of %s", p.Preset, strings.Join(Presets, ", "))
	}
	if err := p.CheckIdentifier(); err != nil {
		return err
	}
	if err := p.CheckAudiences(); err != nil {
		return err
	}
	for _, name := range p.Algorithms {
		if err := CheckAlgorithm(name); err != nil {
			return fmt.Errorf("algorithms: %w", err)
		}
	}
	if _, ok := bindings[p.Bound]; !ok {
		return fmt.Errorf("bound: found %q, expected one of %s", p.Bound, strings.Join(Bindings, ", "))
	}
	if p.Leeway < 0 || p.Leeway > MaxLeeway {
		return fmt.Errorf("leeway: found %s, expected at least 0s and at most %s", p.Leeway, MaxLeeway)
	}
	if p.MaxLifetime < 0 {
		return fmt.Errorf("max_lifetime: found %s, expected more than 0s", p.MaxLifetime)
	}
	if p.Kind != "" && p.Kind != KindUser && p.Kind != KindServiceAccount {
		return fmt.Errorf("kind: found %q, expected %s or %s", p.Kind, KindServiceAccount, KindUser)
	}
	return nil
}

// CheckAudiences wants audiences where the preset's tokens have them.
func (p Policy) CheckAudiences() error {
	switch {
	case len(p.Audiences) == 0 && !presets[p.Preset].clientAsAudience:
		return errors.New("expected at least one audience: without it, tokens meant for other services would be let in")
	case slices.Contains(p.Audiences, ""):
		return errors.New("audience: found an empty one")
	}
	return nil
}

// CheckDistinct checks that no two issuers have the same identifier or the same name.
func CheckDistinct(issuers []Policy) error {
	identifiers, names := make(map[string]bool, len(issuers)), make(map[string]string, len(issuers))
	for _, p := range issuers {
		if identifiers[p.Issuer] {
			return fmt.Errorf("issuer %s is configured twice", p.Issuer)
		}
		if other, taken := names[p.Name]; taken {
			return fmt.Errorf("issuers %s and %s are both named %q: give one of them another with `name`", other, p.Issuer, p.Name)
		}
		identifiers[p.Issuer], names[p.Name] = true, p.Issuer
	}
	return nil
}

// MaxLeeway is the longest leeway; it keeps a slip of the pen from making
// tokens last for days.
const MaxLeeway = time.Hour

// authority is an issuer whose tokens are accepted: its policy, compiled, and
// its keys.
type authority struct {
	Policy
	preset  preset
	tenants *tenants // nil: the identifier is that of one issuer
	domain  string   // the trust domain; empty but for SPIFFE's
	keys    *issuer.Engine

	introspection *introspection.Config // nil: it is not asked about tokens
	asks          *introspection.Client // with introspection
	iss           jsontext.Value        // the identifier as JSON

	leeway float64 // the policy's, in seconds, rounded up
	kinds  []claimPatterns
	// clientClaims are all that may name the client, where the kind is looked for.
	clientClaims []string
	included     map[string][]string // scopes by one that includes them, all of them
	plan         plan
	// interner keeps one copy of each profile, so that a hundred thousand cached tokens
	// take little memory, and what requests need of them stays in the processor's cache.
	interner struct {
		mu       sync.Mutex
		profiles map[profileKey]*profile
	}
	notOfPreset *Refusal      // of tokens without a claim that the preset's access tokens have
	unclear     *Refusal      // of callers whose kind is unclear
	unclearSeen atomic.Uint64 // their tokens that were verified
}

// newAuthority checks the policy and compiles it.
func newAuthority(p Policy, keys *issuer.Engine) (a *authority, err error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	a = &authority{
		Policy: p, preset: presetOf(p), keys: keys,
		leeway: math.Ceil(p.Leeway.Seconds()),
	}
	if len(a.Algorithms) == 0 {
		a.Algorithms = Algorithms
	}
	a.TokenType = mediaType(p.TokenType)
	a.clientClaims = clientClaims
	if p.ClientClaim != "" {
		a.clientClaims = append(slices.Clone(clientClaims), p.ClientClaim)
	}
	a.tenants, a.domain = tenantsOf(p), p.trustDomain()
	for _, r := range p.Kinds {
		if r.Kind != KindUser && r.Kind != KindServiceAccount {
			return nil, fmt.Errorf("kind: found %q, expected %s or %s", r.Kind, KindServiceAccount, KindUser)
		}
		if r.Path == "" || len(r.Values) == 0 {
			return nil, fmt.Errorf("kind %s when %s: expected a claim and at least one value", r.Kind, r.Path)
		}
		values, err := compilePatterns(r.Values)
		if err != nil {
			return nil, fmt.Errorf("kind %s when %s: %w", r.Kind, r.Path, err)
		}
		a.kinds = append(a.kinds, claimPatterns{r.Path, values, r.Kind})
	}
	if a.included, err = IncludedScopes(p.ScopeIncludes); err != nil {
		return nil, err
	}
	a.unclear = a.preset.unclear(p.Preset)
	a.notOfPreset = a.preset.lacks(p.Preset)
	return a, nil
}

// Algorithms lists the signature algorithms that can be accepted: asymmetric ones
// only.
var Algorithms = jose.Algorithms

// CheckAlgorithm is an error that says what would be right, or nil for one of
// [Algorithms].
func CheckAlgorithm(name string) error {
	if slices.Contains(Algorithms, name) {
		return nil
	}
	if name == "none" || strings.HasPrefix(name, "HS") {
		return fmt.Errorf("algorithm %q is never accepted: only asymmetric signatures are (%s)", name, strings.Join(Algorithms, ", "))
	}
	return fmt.Errorf("unknown algorithm %q: expected one of %s", name, strings.Join(Algorithms, ", "))
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
