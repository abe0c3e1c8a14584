package bound

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// What is wrong with a URI.
var (
	errNotURI = errors.New("not an http or https URI")
	errQuery  = errors.New("has a query or a fragment")
)

// Base gives the normal form of scheme and host, with the port if it is not the
// scheme's own: what a request's URI begins with, as the connection or a trusted
// proxy says. An error means that no proof can be for this host.
func Base(scheme, host string) (string, error) {
	if strings.Contains(host, "/") {
		return "", fmt.Errorf("host %q: %w", host, errNotURI)
	}
	return ParseBase(scheme + "://" + host)
}

// ParseBase gives the normal form of an address at which clients reach a site. It
// may have a path, which is then in front of that of every request.
func ParseBase(address string) (string, error) {
	base, origin, err := appendURI(make([]byte, 0, len(address)+1), []byte(address))
	if err != nil {
		return "", fmt.Errorf("address %q: %w", address, err)
	}
	for len(base) > origin && base[len(base)-1] == '/' {
		base = base[:len(base)-1]
	}
	return string(base), nil
}

// appendURI appends the normal form of an http or https URI (RFC 3986, sections
// 6.2.2 and 6.2.3) and tells where in it the path begins.
func appendURI(to, uri []byte) (normal []byte, path int, err error) {
	scheme, rest, found := bytes.Cut(uri, []byte("://"))
	port := ""
	switch {
	case found && bytes.EqualFold(scheme, []byte("https")):
		to, port = append(to, "https://"...), "443"
	case found && bytes.EqualFold(scheme, []byte("http")):
		to, port = append(to, "http://"...), "80"
	default:
		return to, 0, errNotURI
	}
	if bytes.ContainsAny(rest, "?#") {
		return to, 0, errQuery
	}
	end := bytes.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	to, ok := appendAuthority(to, rest[:end], port)
	if !ok || bytes.ContainsFunc(rest, func(r rune) bool { return r >= 0x80 }) {
		return to, 0, errNotURI
	}
	path = len(to)
	to, ok = appendPath(to, string(rest[end:]))
	if !ok {
		return to, 0, errNotURI
	}
	return to, path, nil
}

// appendAuthority takes a host and a port, and no user: a name in lower case, or an
// IPv6 address in its shortest form.
func appendAuthority(to, authority []byte, ownPort string) (normal []byte, ok bool) {
	host, port := authority, []byte(nil)
	if i := bytes.LastIndexByte(authority, ':'); i > bytes.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
	}
	if len(host) == 0 {
		return to, false
	}
	if host[0] == '[' {
		address, err := netip.ParseAddr(string(bytes.TrimSuffix(host[1:], []byte("]"))))
		if err != nil || !address.Is6() || address.Zone() != "" || host[len(host)-1] != ']' {
			return to, false
		}
		to = append(address.AppendTo(append(to, '[')), ']')
	} else {
		for _, c := range host {
			switch {
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			case !isUnreserved(c):
				return to, false
			}
			to = append(to, c)
		}
	}
	if len(port) == 0 {
		return to, true
	}
	if bytes.ContainsFunc(port, func(r rune) bool { return r < '0' || r > '9' }) {
		return to, false
	}
	number, err := strconv.ParseUint(string(port), 10, 16)
	if err != nil || number == 0 {
		return to, false
	}
	if plain := bytes.TrimLeft(port, "0"); string(plain) != ownPort {
		to = append(append(to, ':'), plain...)
	}
	return to, true
}

// appendTargetPath appends the normal form of the path of a request target as it
// was sent (RFC 9112, section 3.2), without the query.
func appendTargetPath(to []byte, target string) (normal []byte, ok bool) {
	target, _, _ = strings.Cut(target, "?")
	switch {
	case target == "*": // the server as a whole
		target = ""
	case target != "" && target[0] != '/': // in absolute form
		_, rest, found := strings.Cut(target, "://")
		if !found {
			return to, false
		}
		target = ""
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			target = rest[i:]
		}
	}
	return appendPath(to, target)
}

// appendPath appends a path's normal form: what may stand there unescaped is not
// escaped, all else is, in upper case; no dot segments; at least a slash.
func appendPath(to []byte, path string) (normal []byte, ok bool) {
	start := len(to)
	if path == "" {
		return append(to, '/'), true
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+2 >= len(path) {
				return to, false
			}
			high, ok1 := unhex(path[i+1])
			low, ok2 := unhex(path[i+2])
			if !ok1 || !ok2 {
				return to, false
			}
			c = high<<4 | low
			i += 2
			if isUnreserved(c) {
				to = append(to, c)
			} else {
				to = append(to, '%', upperHex[c>>4], upperHex[c&15])
			}
			continue
		}
		switch {
		case isUnreserved(c), strings.IndexByte("/!$&'()*+,;=:@", c) >= 0:
			to = append(to, c)
		case c <= ' ' || c == 0x7f:
			return to, false
		default: // browsers leave some of these as they are
			to = append(to, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return removeDots(to, start), true
}

// removeDots removes the dot segments (RFC 3986, section 5.2.4) of the path that
// begins there.
func removeDots(text []byte, start int) []byte {
	out := text[:start]
	for rest := text[start:]; len(rest) > 0; {
		end := bytes.IndexByte(rest[1:], '/') + 1 // rest begins with a slash
		last := end == 0
		if last {
			end = len(rest)
		}
		switch segment := rest[1:end]; {
		case string(segment) == "..":
			if i := bytes.LastIndexByte(out[start:], '/'); i >= 0 {
				out = out[:start+i]
			}
			if last {
				out = append(out, '/')
			}
		case string(segment) == ".":
			if last {
				out = append(out, '/')
			}
		default:
			out = append(out, rest[:end]...)
		}
		rest = rest[end:]
	}
	return out
}

const upperHex = "0123456789ABCDEF"

// isUnreserved is of RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// unhex gives the value of a hexadecimal digit.
func unhex(c byte) (value byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
