package host

import (
	"fmt"
	"strings"
	"testing"
)

// What is no well-formed host is not covered, by "*" or by anything.
func TestMatchMalformed(t *testing.T) {
	m, bad := Compile([]string{"*", "*.johnwick.org", "johnwick.org", "10.0.0.5", "::1"})
	if len(bad) != 0 {
		t.Fatal(bad)
	}
	label := strings.Repeat("a", 63)
	for _, h := range []string{
		"", ".", "..", ":", ":443", ".:443", "johnwick.org..", ".johnwick.org", "a..johnwick.org",
		"johnwick.org:", // legal, listed to show the difference; see below
		"johnwick.org:443:1", "johnwick.org:x", "johnwick.org:-1", "johnwick.org:65536", "johnwick.org:000443",
		"user@johnwick.org", "john wick.org", "johnwick.org ", "johnwick.org\x00", "johnwick.org\n", "bücher.example", "a/b", "a,b", "*", "*.johnwick.org",
		"010.0.0.5", "10.0.0", "10.0.0.256", "0x7f.1", "1", "0x7F", "10.0.0.5:443:",
		"[", "[]", "[::1", "[::1]x", "[::1]:x", "[::1]443", "[10.0.0.5]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1].", "::1", "[[::1]]",
		"a" + label + ".org", label + "." + label + "." + label + "." + label,
	} {
		want := h == "johnwick.org:"
		if m.Match(h) != want {
			t.Errorf("Match(%q) is %t, want %t", h, !want, want)
		}
	}
}

func TestMatchEvery(t *testing.T) {
	m, _ := Compile([]string{"*"})
	for _, h := range []string{
		"a", "A.B.C.", "localhost:80", "10.0.0.5", "10.0.0.5.:80", "[::1]", "[::1]:", "[2001:db8::1]:443", "_dmarc.a-b.org", "3com", "xn--a.example", "a.b0x",
	} {
		if !m.Match(h) {
			t.Errorf("* does not match %q", h)
		}
	}
}

func TestMatchSeveral(t *testing.T) {
	m, bad := Compile([]string{"*.a.org", "b.a.org", "*.x.a.org", "c.org", "192.0.2.7", "http://bad", "2001:db8::1", "*bad.org"})
	if len(bad) != 2 {
		t.Fatalf("%d refused, want 2: %v", len(bad), bad)
	}
	for h, want := range map[string]bool{
		"a.org": false, "b.a.org": true, "z.a.org": true, "x.a.org": true, "q.x.a.org": true, "c.org": true, "d.c.org": false, "a.org.c.org": false,
		"192.0.2.7": true, "192.0.2.8": false, "[::ffff:192.0.2.7]": true, "[::ffff:c000:207]:80": true, "[2001:db8::1]": true, "[2001:db8::2]": false,
		"ba.org": false, "bad.org": false,
	} {
		if m.Match(h) != want {
			t.Errorf("Match(%q) is %t, want %t", h, !want, want)
		}
	}
}

func TestNoPatterns(t *testing.T) {
	m, bad := Compile([]string{"http://a.org"})
	if m != nil || len(bad) != 1 {
		t.Fatalf("%v, %v; want no matcher and one error", m, bad)
	}
	p, err := Parse("a.org")
	if err != nil {
		t.Fatal(err)
	}
	if m.Match("a.org") || m.Covers(p) {
		t.Error("a nil matcher matches")
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		license []string
		yes, no []string
	}{
		{[]string{"*"}, []string{"*", "*.a.org", "a.org", "10.0.0.5", "::1"}, nil},
		{[]string{"*.a.test"}, []string{"x.a.test", "x.y.a.test", "*.a.test", "*.x.a.test"}, []string{"a.test", "*.test", "*", "ba.test", "*.ba.test", "10.0.0.5"}},
		{[]string{"a.org", "10.0.0.5"}, []string{"a.org", "::ffff:10.0.0.5"}, []string{"*.a.org", "x.a.org", "*", "::1"}},
	} {
		m, _ := Compile(c.license)
		for i, list := range [][]string{c.yes, c.no} {
			for _, s := range list {
				p, err := Parse(s)
				if err != nil {
					t.Fatal(err)
				}
				if want := i == 0; m.Covers(p) != want {
					t.Errorf("%v covers %s: %t, want %t", c.license, s, !want, want)
				}
			}
		}
		if m.Covers(Pattern{}) {
			t.Errorf("%v covers the zero pattern", c.license)
		}
	}
}

// hundreds gives n patterns with parents of several lengths.
func hundreds(t testing.TB, n int) *Matcher {
	t.Helper()
	patterns := make([]string, n)
	for i := range n {
		patterns[i] = fmt.Sprintf("*.tenant-%d.%s.example.org", i, strings.Repeat("x", 1+i%8))
	}
	patterns[0] = "*.johnwick.org"
	m, bad := Compile(patterns)
	if len(bad) != 0 {
		t.Fatal(bad)
	}
	return m
}

func TestMatchAllocatesNothing(t *testing.T) {
	m := hundreds(t, 256)
	for h, want := range map[string]bool{
		"API.eu-west.JohnWick.org:8443": true, "evil.example.net": false, "a.tenant-9.xx.example.org": true,
		"10.0.0.5:80": false, "[2001:db8::1]:443": false, "johnwick.org:443:1": false, strings.Repeat("a.", 126) + "a": false,
	} {
		allocs := testing.AllocsPerRun(100, func() {
			if m.Match(h) != want {
				t.Errorf("Match(%q) is %t, want %t", h, !want, want)
			}
		})
		if allocs != 0 {
			t.Errorf("Match(%q) allocates %v times", h, allocs)
		}
	}
}

// The floor is one look-up of the bare host in a map.
func BenchmarkMatch(b *testing.B) {
	hosts := map[string]string{
		"near":  "api.johnwick.org",
		"port":  "API.eu-west.JohnWick.org:8443",
		"other": "www.example.net",
		"worst": strings.Repeat("a.", 126) + "a",
	}
	for _, n := range []int{1, 256} {
		m := hundreds(b, n)
		for _, name := range []string{"near", "port", "other", "worst"} {
			h := hosts[name]
			b.Run(fmt.Sprintf("patterns=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					m.Match(h)
				}
			})
		}
		b.Run(fmt.Sprintf("patterns=%d/floor", n), func(b *testing.B) {
			floor := make(map[string]struct{}, n)
			for i := range n {
				floor[fmt.Sprintf("tenant-%d.example.org", i)] = struct{}{}
			}
			h := "tenant-0.example.org"
			b.ReportAllocs()
			for b.Loop() {
				_, _ = floor[h]
			}
		})
	}
}
