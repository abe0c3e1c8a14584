package host

import (
	"net/netip"
	"strings"
)

// Matcher is a set of patterns, compiled for [Matcher.Match]. It never changes,
// so any number of goroutines may share it. A nil Matcher matches nothing.
type Matcher struct {
	every bool
	names map[string]struct{}     // exact names
	bases map[string]struct{}     // x of "*.x"
	addrs map[netip.Addr]struct{} // unmapped

	// lengths has the bit n set if a base of n bytes exists, so that only
	// suffixes that can be a base are looked up.
	lengths [(maxName + 64) / 64]uint64
}

// Compile makes a matcher of all patterns that parse, and returns an error for
// each that does not, in their order. A license is honored for the patterns
// that are good; with none the matcher is nil.
func Compile(patterns []string) (*Matcher, []error) {
	var good []Pattern
	var bad []error
	for _, s := range patterns {
		p, err := Parse(s)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		good = append(good, p)
	}
	return NewMatcher(good...), bad
}

// NewMatcher makes a matcher of patterns; nil if there are none.
func NewMatcher(patterns ...Pattern) *Matcher {
	if len(patterns) == 0 {
		return nil
	}
	m := &Matcher{
		names: make(map[string]struct{}),
		bases: make(map[string]struct{}),
		addrs: make(map[netip.Addr]struct{}),
	}
	for _, p := range patterns {
		switch p.kind {
		case every:
			m.every = true
		case exact:
			m.names[p.name] = struct{}{}
		case subdomains:
			m.bases[p.name] = struct{}{}
			m.lengths[len(p.name)/64] |= 1 << (len(p.name) % 64)
		case address:
			m.addrs[p.addr] = struct{}{}
		}
	}
	return m
}

// Match reports whether the Host of a request (RFC 9110, section 7.2; in HTTP/2
// and HTTP/3 its :authority), port included or not, is covered. What is not a
// well-formed ASCII host never is, "*" or not.
func (m *Matcher) Match(hostport string) bool {
	if m == nil {
		return false
	}
	if strings.HasPrefix(hostport, "[") {
		addr, ok := bracketed(hostport)
		return ok && m.matchAddr(addr)
	}
	s, ok := cutPort(hostport)
	if !ok {
		return false
	}
	s = strings.TrimSuffix(s, ".")
	var buf [maxName]byte
	last, ok := fold(&buf, s)
	if !ok {
		return false
	}
	name := buf[:len(s)]
	if '0' <= name[last] && name[last] <= '9' && endsInNumber(name) {
		addr, err := netip.ParseAddr(s)
		return err == nil && m.matchAddr(addr)
	}
	return m.every || m.matchName(name)
}

// matchName looks up the name and each of its parents. The conversions in the
// index expressions do not allocate.
func (m *Matcher) matchName(name []byte) bool {
	if _, ok := m.names[string(name)]; ok {
		return true
	}
	for i, c := range name {
		if c != '.' {
			continue
		}
		suffix := name[i+1:]
		if m.lengths[len(suffix)/64]&(1<<(len(suffix)%64)) == 0 {
			continue
		}
		if _, ok := m.bases[string(suffix)]; ok {
			return true
		}
	}
	return false
}

func (m *Matcher) matchAddr(addr netip.Addr) bool {
	if m.every {
		return true
	}
	_, ok := m.addrs[addr]
	return ok
}

// Covers reports whether every host that p matches is matched by m as well. It
// serves to compare a site's address with a license before any request comes.
func (m *Matcher) Covers(p Pattern) bool {
	if m == nil || p.kind == invalid {
		return false
	}
	if m.every {
		return true
	}
	switch p.kind {
	case exact:
		return m.matchName([]byte(p.name))
	case address:
		return m.matchAddr(p.addr)
	case subdomains: // all of them are, if the name itself or one of its parents is a base
		for name, more := p.name, true; more; _, name, more = strings.Cut(name, ".") {
			if _, ok := m.bases[name]; ok {
				return true
			}
		}
	}
	return false
}

// folded maps each byte that a label may hold to its lower case, all others to
// zero. The dot is not among them.
var folded = func() (t [256]byte) {
	const kept = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, c := range []byte(kept) {
		t[c] = c
	}
	for c := byte('A'); c <= 'Z'; c++ {
		t[c] = c + 'a' - 'A'
	}
	return t
}()

// fold writes the name s in lower case to buf and tells where its last label
// begins. It fails unless s is a name of well-formed labels.
func fold(buf *[maxName]byte, s string) (last int, ok bool) {
	if len(s) > maxName {
		return 0, false
	}
	name := buf[:len(s)]
	for i := range name {
		c := folded[s[i]]
		if s[i] == '.' {
			if !isLabel(last, i) {
				return 0, false
			}
			c, last = '.', i+1
		}
		if c == 0 {
			return 0, false
		}
		name[i] = c
	}
	return last, isLabel(last, len(s))
}

// isLabel reports whether a label from start to end has a length that it may
// have.
func isLabel(start, end int) bool { return end > start && end-start <= maxLabel }

// cutPort removes the port, which may be empty (RFC 3986, section 3.2.3). It
// fails on what follows a colon and is no port.
func cutPort(s string) (string, bool) {
	i := strings.IndexByte(s, ':')
	if i < 0 {
		return s, true
	}
	return s[:i], isPort(s[i+1:])
}

func isPort(s string) bool {
	if len(s) > 5 {
		return false
	}
	port := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		port = port*10 + int(s[i]-'0')
	}
	return port <= 65535
}

// bracketed reads "[IPv6 address]" with or without a port (RFC 3986, section
// 3.2.2), and gives IPv4-mapped addresses as IPv4.
func bracketed(s string) (netip.Addr, bool) {
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return netip.Addr{}, false
	}
	rest := s[end+1:]
	if rest != "" && (rest[0] != ':' || !isPort(rest[1:])) {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(s[1:end])
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}
