package license

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// ErrMissingKey says that there is no private key to sign with.
var ErrMissingKey = errors.New("unable to sign license: missing private key")

// Request is what a new license shall say. Errors name its members as the HTTP
// API's sign body does: license_type, allowed_hosts, description, expire_at,
// features, version, id, not_before, grace, issuer, limits, enforcement, instance,
// environment, crit.
type Request struct {
	// Type is required.
	Type Type

	// AllowedHosts are 1 to 256 host patterns. Unlike when verifying, each
	// must be good, and "*." may not stand before a public suffix.
	AllowedHosts []string

	// Description is 2 to 200 bytes.
	Description string

	// TTL is how long from now the license is to be valid: a second or more,
	// cut to whole seconds.
	TTL time.Duration

	// Features are sorted and freed of duplicates. Nil grants every feature,
	// an empty list none.
	Features []string

	// Version is 1 or 2, or 0 for version 1 where it can be (with an RSA key
	// and nothing but version 1's members) and version 2 elsewhere.
	Version int

	// ID is a UUID. Version 2 gets a random one if it is empty, so that the
	// license can be revoked.
	ID string

	// NotBefore is when the license begins to be valid, in Unix seconds; nil:
	// at once.
	NotBefore *int64

	// Grace is the license's own grace in seconds; nil leaves it to the
	// verifier.
	Grace *int64

	// Issuer, Limits, Environment and Crit are as in [Payload].
	Issuer      string
	Limits      map[string]int64
	Environment string
	Crit        []string

	// Enforcement says what becomes of one more than a limit, as in [Payload].
	Enforcement map[string]Enforcement

	// Instance binds the license to an instance, as in [Payload]; Crit need not
	// name it.
	Instance string
}

// SignerConfig is what a [Signer] is made of.
type SignerConfig struct {
	// Key is the private key, in memory or in a key service: RSA of 2048 bits
	// or more, Ed25519, or ECDSA on P-256.
	Key crypto.Signer

	// MaxTTL is the longest TTL that is signed; 0 for no limit.
	MaxTTL time.Duration

	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Signer signs licenses. Any number of goroutines may share it. Printed or logged
// in whatever way, it shows its key id and nothing else.
type Signer struct {
	key    crypto.Signer
	public crypto.PublicKey
	keyID  string
	maxTTL time.Duration
	now    func() time.Time
}

// NewSigner makes a signer. Without a key the error is [ErrMissingKey].
func NewSigner(c SignerConfig) (*Signer, error) {
	if c.Key == nil {
		return nil, ErrMissingKey
	}
	public := c.Key.Public()
	id, err := KeyID(public)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	s := &Signer{key: c.Key, public: public, keyID: id, maxTTL: c.MaxTTL, now: c.Now}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// KeyID is the id of the key that signs.
func (s *Signer) KeyID() string { return s.keyID }

// Public is the key that verifies what the signer signs.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Format keeps the private key out of whatever a signer is printed to.
func (s Signer) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "license.Signer(%s)", s.keyID) }

// Sign checks the request and makes a license of it, which is stamped as issued
// an hour ago and ends a TTL from now. A bad request is
// an [*Error] with the reason [ReasonForm] and the member's name; any other error
// is the key's. A nil Signer returns [ErrMissingKey].
func (s *Signer) Sign(r Request) (*License, error) {
	if s == nil {
		return nil, ErrMissingKey
	}
	p, err := s.payload(r)
	if err != nil {
		return nil, err
	}
	data, err := signedBytes(s.keyID, p)
	if err != nil {
		return nil, inRequest(err)
	}
	l := &License{KeyID: s.keyID, Payload: *p}
	if l.Signature, err = sign(s.key, s.public, data); err != nil {
		return nil, err
	}
	if _, err := l.Encode(); err != nil {
		return nil, err
	}
	return l, nil
}

// backdate is how long before the clock a license is stamped, in seconds, as
// hoop's own tools do it: its verifier takes no license from its future, however
// little its clock is behind.
const backdate = 60 * 60

func (s *Signer) payload(r Request) (*Payload, error) {
	switch {
	case r.TTL < time.Second:
		return nil, badForm("expire_at", "is %s; want at least 1s", r.TTL)
	case s.maxTTL > 0 && r.TTL > s.maxTTL:
		return nil, badForm("expire_at", "is %s; want at most %s", r.TTL, s.maxTTL)
	}
	now := s.now().Unix()
	asked := &Payload{
		ID:           r.ID,
		Issuer:       r.Issuer,
		Type:         r.Type,
		IssuedAt:     now - backdate,
		NotBefore:    r.NotBefore,
		ExpireAt:     now + int64(r.TTL/time.Second),
		Grace:        r.Grace,
		AllowedHosts: r.AllowedHosts,
		Description:  r.Description,
		Features:     slices.Compact(slices.Sorted(slices.Values(r.Features))),
		Limits:       r.Limits,
		Environment:  r.Environment,
		Crit:         r.Crit,
		Enforcement:  r.Enforcement,
		Instance:     r.Instance,
	}
	p := asked.Clone()
	if r.Instance != "" && !slices.Contains(r.Crit, critInstance) {
		p.Crit = append(p.Crit, critInstance)
	}
	if r.Features != nil && len(r.Features) == 0 {
		p.Features = []string{}
	}
	return &p, s.chooseVersion(r.Version, &p)
}

// chooseVersion sets the payload's version: 1 where it can be, else 2.
func (s *Signer) chooseVersion(asked int, p *Payload) error {
	hosts, err := signableHosts(p.AllowedHosts)
	if err != nil {
		return err
	}
	why := p.newer()
	if slices.ContainsFunc(hosts, host.Pattern.IsIPv6) {
		why = "an IPv6 address in allowed_hosts"
	}
	if _, ok := s.public.(*rsa.PublicKey); !ok {
		why = "the key, which is not RSA"
	}
	switch {
	case asked < 0 || asked > 2:
		return badForm("version", "is %d; want 1, 2, or none to choose", asked)
	case asked == 1 && why != "":
		return badForm("version", "is 1, which cannot be because of %s; want 2, or none to choose", why)
	case asked == 1, asked == 0 && why == "":
		return nil
	}
	p.V = 2
	if p.ID != "" {
		return nil
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("making a license id: %w", err)
	}
	p.ID = id.String()
	return nil
}

// signableHosts holds new licenses to more than verifying does: every pattern is
// good, and none is "*." and a public suffix.
func signableHosts(raw []string) ([]host.Pattern, error) {
	if len(raw) > maxHosts {
		return nil, badForm("allowed_hosts", "has %d entries; want 1 to %d", len(raw), maxHosts)
	}
	hosts := make([]host.Pattern, 0, len(raw))
	for i, s := range raw {
		p, err := host.Parse(s)
		if err == nil {
			err = p.Signable()
		}
		if err != nil {
			return nil, badForm(fmt.Sprintf("allowed_hosts[%d]", i), "%v", err)
		}
		hosts = append(hosts, p)
	}
	return hosts, nil
}

// inRequest renames the payload's members as a request calls them.
func inRequest(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	named := *e
	named.Field = strings.TrimPrefix(e.Field, "payload.")
	if named.Field == "type" {
		named.Field = "license_type"
	}
	return &named
}

const day = 24 * time.Hour

// ParseTTL reads a duration as people write it in a request to sign: as
// [time.ParseDuration] does, with whole days before it or alone, as in "8760h",
// "365d" or "1d12h". The error is an [*Error] of the member expire_at.
func ParseTTL(s string) (time.Duration, error) {
	const want = `want a duration such as "8760h" or "365d"`
	if len(s) > 64 {
		return 0, badForm("expire_at", "has %d bytes; %s", len(s), want)
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 63)
	if err != nil || days != strconv.FormatUint(n, 10) {
		return 0, badForm("expire_at", "is %s; %s", quote(s), want)
	}
	var more time.Duration
	if rest != "" || !found {
		more, err = time.ParseDuration(rest)
	}
	if err != nil || found && strings.HasPrefix(rest, "-") || found && strings.HasPrefix(rest, "+") {
		return 0, badForm("expire_at", "is %s; %s", quote(s), want)
	}
	if n > uint64((math.MaxInt64-more.Abs())/day) {
		return 0, badForm("expire_at", "is %s; want at most %d days", quote(s), math.MaxInt64/day)
	}
	return time.Duration(n)*day + more, nil
}
