// Package host decides whether a request's Host is one that a license names.
//
// A [Pattern] is one entry of a license: a name, "*." and a name, an IP address
// or "*". A [Matcher] is a compiled set of them, made once and asked at each
// request: it takes no lock, allocates nothing and looks at most once into a
// map for each label of the host.
//
// # Rules
//
//   - A name matches exactly: case-blind, one trailing dot and the port ignored.
//   - "*.x" matches every subdomain of x at any depth, but not x itself. An x
//     without a dot is refused, except for names of private networks.
//   - "*" matches every host; a request without one is refused still.
//   - An internationalized name becomes A-labels (UTS #46, non-transitional). A
//     request's Host must be ASCII already, as RFC 9110 asks.
//   - An IP address matches itself in any spelling, IPv4-mapped IPv6 addresses
//     included; zones are refused.
//   - Loopback names are hosts like any other.
//
// The Host header is the client's word, and nothing here reads another header.
// What never lives here: licenses, signatures, time.
package host

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// MaxPattern is the greatest length of a pattern in bytes, as written. A name
// of 253 ASCII bytes (RFC 1035, section 2.3.4) fits in any script.
const MaxPattern = 1024

const (
	maxName  = 253
	maxLabel = 63
)

type kind uint8

const (
	invalid kind = iota
	exact
	subdomains
	address
	every
)

// Pattern is one compiled host pattern. Patterns are equal (==) if and only if
// they match the same hosts. The zero Pattern matches nothing.
type Pattern struct {
	kind kind
	name string // A-labels in lower case, without "*." and trailing dot
	addr netip.Addr
}

// profile is UTS #46, non-transitional. Hyphens and the ASCII characters are
// left to checkName: names such as r3---sn.example and my_host.example exist.
var profile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.BidiRule(),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
)

// Parse reads one pattern of the rules in the package's documentation. The
// error says what was found and what would be right.
func Parse(s string) (Pattern, error) {
	p, err := parse(s)
	if err != nil {
		return Pattern{}, fmt.Errorf("host pattern %s: %w", strictjson.Quote(s, 80), err)
	}
	return p, nil
}

func parse(s string) (Pattern, error) {
	switch {
	case s == "":
		return Pattern{}, errors.New("empty; want a host name, *.name, an IP address or *")
	case len(s) > MaxPattern:
		return Pattern{}, fmt.Errorf("%d bytes; want at most %d", len(s), MaxPattern)
	case !utf8.ValidString(s):
		return Pattern{}, errors.New("not valid UTF-8")
	case s == "*":
		return Pattern{kind: every}, nil
	case strings.ContainsAny(s, ":[]"):
		return parseIPv6(s)
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return Pattern{kind: address, addr: addr}, nil
	}
	base, wild := strings.CutPrefix(s, "*.")
	name, err := toName(base)
	if err != nil {
		return Pattern{}, err
	}
	if wild {
		return Pattern{kind: subdomains, name: name}, checkBase(name)
	}
	return Pattern{kind: exact, name: name}, nil
}

// privateLabels are names without a dot under which nobody sells names: reserved
// by RFC 6761, 6762, 7686, 8375 and 9476, by ICANN (internal, and the three that
// it never delegates), and what networks of their own are called besides.
var privateLabels = map[string]bool{
	"alt": true, "corp": true, "example": true, "home": true, "internal": true, "intranet": true, "invalid": true,
	"lan": true, "local": true, "localhost": true, "mail": true, "onion": true, "private": true, "test": true,
}

// checkBase refuses "*." in front of a name without a dot, under which anybody
// may have a name. Unlike [Pattern.Signable] it asks no list that moves: a signed
// license means the same in each build.
func checkBase(name string) error {
	if strings.Contains(name, ".") || privateLabels[name] {
		return nil
	}
	return fmt.Errorf("'*.' over all of %q, a public suffix or what may become one; want a domain of the customer's own", name)
}

// parseIPv6 reads an IPv6 address, in brackets or bare. What else holds a colon
// is a name with a port or a URL, and refused with a hint.
func parseIPv6(s string) (Pattern, error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(bare)
	switch {
	case strings.Contains(s, "://"):
		return Pattern{}, errors.New("a URL; want the host alone")
	case err != nil:
		return Pattern{}, errors.New("holds ':' but is no IPv6 address; want the host alone, without a port")
	case addr.Zone() != "":
		return Pattern{}, errors.New("has a zone, which is local to one machine; want the address alone")
	case addr.Is4():
		return Pattern{}, errors.New("an IPv4 address in brackets; want it bare")
	}
	return Pattern{kind: address, addr: addr.Unmap()}, nil
}

// toName turns a name as written into lower-case A-labels without a trailing
// dot.
func toName(s string) (string, error) {
	if strings.Contains(s, "*") {
		return "", errors.New("'*' may stand alone or as the whole first label, as in *.example.org")
	}
	ascii, err := profile.ToASCII(s)
	if err != nil {
		return "", fmt.Errorf("not a host name: %w", err)
	}
	// Of some heaps of combining marks the A-label cannot be read back.
	if again, err := profile.ToASCII(ascii); err != nil || again != ascii {
		return "", fmt.Errorf("not a host name: its A-labels would be %q, which stand for no name", ascii)
	}
	name := strings.TrimSuffix(ascii, ".")
	if err := checkName(name); err != nil {
		return "", err
	}
	if endsInNumber(name) {
		return "", errors.New("ends in a number but is no IP address; want four decimal parts without leading zeros, as in 10.0.0.5")
	}
	return name, nil
}

// checkName checks lengths and characters of a name in ASCII (RFC 1035,
// section 2.3, with the underscore that many real names hold).
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%d bytes as A-labels; want at most %d", len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return errors.New("has an empty label; want at least one character between dots")
		case len(label) > maxLabel:
			return fmt.Errorf("has a label of %d bytes; want at most %d", len(label), maxLabel)
		}
	}
	for _, c := range []byte(name) {
		if c != '.' && (c == 0 || folded[c] != c) {
			return fmt.Errorf("holds %q; want letters, digits, '-', '_' and dots only", c)
		}
	}
	return nil
}

// endsInNumber reports whether the last label of a name is decimal or
// hexadecimal, so that some software would read the name as an IPv4 address
// (WHATWG URL, "ends in a number checker").
func endsInNumber[T string | []byte](name T) bool {
	start := len(name)
	for start > 0 && name[start-1] != '.' {
		start--
	}
	last := name[start:]
	hex := len(last) >= 2 && last[0] == '0' && last[1] == 'x'
	if hex {
		last = last[2:]
	}
	for i := range len(last) {
		digit := '0' <= last[i] && last[i] <= '9' || hex && 'a' <= last[i] && last[i] <= 'f'
		if !digit {
			return false
		}
	}
	return hex || len(last) > 0
}

// IsIPv6 reports whether the pattern is an IPv6 address, which holds ':' and so
// cannot stand in a license of version 1.
func (p Pattern) IsIPv6() bool { return p.kind == address && p.addr.Is6() }

// String gives the pattern's canonical spelling, which [Parse] reads back to an
// equal pattern; empty for the zero Pattern.
func (p Pattern) String() string {
	switch p.kind {
	case exact:
		return p.name
	case subdomains:
		return "*." + p.name
	case address:
		return p.addr.String()
	case every:
		return "*"
	}
	return ""
}

// Signable says why a pattern should not be put into a new license: "*." and a
// public suffix names hosts of everybody. A suffix counts if it is one of the
// ICANN section, or a private one of several labels (github.io); a name that is
// not on the list, such as internal, does not.
//
// Only a signer asks this. The list of public suffixes moves with each build,
// and a signed license must not change its meaning.
func (p Pattern) Signable() error {
	if p.kind != subdomains {
		return nil
	}
	// A rule such as *.ck makes every child of ck a public suffix and does
	// not name ck itself. No list names this child, so only a rule with a
	// wildcard can fit it.
	for _, name := range []string{p.name, "no-such-label." + p.name} {
		suffix, icann := publicsuffix.PublicSuffix(name)
		if suffix == name && (icann || strings.Contains(name, ".")) {
			return fmt.Errorf("host pattern %q: %s is a public suffix, under which anybody may hold a name; want a domain of the customer's own", p, p.name)
		}
	}
	return nil
}
