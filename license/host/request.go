package host

import (
	"net/netip"
	"strings"
)

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
