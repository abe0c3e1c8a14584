package host

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzHostPattern holds patterns and hosts to what must be true of any.
func FuzzHostPattern(f *testing.F) {
	for _, v := range []vector{
		{pattern: "*.johnwick.org", host: "a.johnwick.org:8443"}, {pattern: "bücher.example", host: "xn--bcher-kva.example"}, {pattern: "*", host: "[::1]:80"},
		{pattern: "10.0.0.5", host: "[::ffff:10.0.0.5]"}, {pattern: "xn--a", host: "xn--a"}, {pattern: "a。b", host: "a.b."}, {pattern: "0x1", host: "010.0.0.5"},
	} {
		f.Add(v.pattern, v.host)
	}
	f.Fuzz(func(t *testing.T, pattern, hostport string) {
		p, err := Parse(pattern)
		if err != nil {
			if p != (Pattern{}) {
				t.Errorf("%q: an error and the pattern %s", pattern, p)
			}
			return
		}
		checkCanonical(t, p)
		m := NewMatcher(p)
		if got, want := m.Match(hostport), matchPlainly(p.String(), hostport); got != want {
			t.Errorf("%q matches %q: %t, want %t", p, hostport, got, want)
		}
		if !m.Covers(p) || NewMatcher(p).every != (p.String() == "*") {
			t.Errorf("%q does not cover itself", p)
		}
	})
}

// checkCanonical makes sure that the canonical spelling is plain ASCII, reads back
// to the same pattern and matches itself unless it has a wildcard.
func checkCanonical(t *testing.T, p Pattern) {
	t.Helper()
	s := p.String()
	again, err := Parse(s)
	if err != nil || again != p {
		t.Errorf("%q reads back as %q, %v", s, again, err)
	}
	if strings.ToLower(s) != s || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		t.Errorf("%q is not canonical", s)
	}
	asHost := s
	if p.IsIPv6() {
		asHost = "[" + s + "]"
	}
	if NewMatcher(p).Match(asHost) == strings.Contains(s, "*") {
		t.Errorf("%q matches itself: want so unless it holds a wildcard", s)
	}
	if base, wild := strings.CutPrefix(s, "*."); wild && len(base) <= 250 && (NewMatcher(p).Match(base) || !NewMatcher(p).Match("x."+base)) {
		t.Errorf("%q must match below %q only", s, base)
	}
}

// matchPlainly is the rules once more, in the plainest words and without a
// thought of speed.
func matchPlainly(canonical, hostport string) bool {
	name, addr, ok := readPlainly(hostport)
	switch {
	case !ok:
		return false
	case canonical == "*":
		return true
	case addr.IsValid():
		want, err := netip.ParseAddr(canonical)
		return err == nil && want == addr
	}
	if base, wild := strings.CutPrefix(canonical, "*."); wild {
		return strings.HasSuffix(name, "."+base)
	}
	return name == canonical
}

func readPlainly(hostport string) (name string, addr netip.Addr, ok bool) {
	h, port := hostport, ""
	if i := strings.LastIndex(h, ":"); i >= 0 && !strings.HasSuffix(h, "]") {
		h, port = h[:i], h[i+1:]
	}
	if len(port) > 5 || strings.Trim(port, "0123456789") != "" || len(port) == 5 && port > "65535" {
		return "", addr, false
	}
	if strings.HasPrefix(h, "[") && strings.HasSuffix(h, "]") {
		addr, err := netip.ParseAddr(h[1 : len(h)-1])
		return "", addr.Unmap(), err == nil && addr.Zone() == "" && addr.Is6()
	}
	h = strings.TrimSuffix(h, ".")
	if addr, err := netip.ParseAddr(h); err == nil {
		return "", addr, addr.Is4()
	}
	if strings.ContainsFunc(h, func(r rune) bool { return r > '~' }) {
		return "", addr, false
	}
	h = strings.ToLower(h)
	return h, addr, checkName(h) == nil && !endsInNumber(h)
}
