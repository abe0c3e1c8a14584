package host

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct{ pattern, want string }{
		{"JohnWick.org", "johnwick.org"},
		{"johnwick.org.", "johnwick.org"},
		{"*.JohnWick.org.", "*.johnwick.org"},
		{"*", "*"},
		{"localhost", "localhost"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"*.BÜCHER.example", "*.xn--bcher-kva.example"},
		{"faß.example", "xn--fa-hia.example"},
		{"ｊｏｈｎ.example", "john.example"},
		{"10.0.0.5", "10.0.0.5"},
		{"::ffff:10.0.0.5", "10.0.0.5"},
		{"2001:DB8:0:0::1", "2001:db8::1"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"3com.example", "3com.example"},
		{"1.2.3.4.example", "1.2.3.4.example"},
		{long + "." + long + "." + long + "." + long[:61], long + "." + long + "." + long + "." + long[:61]},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			p, err := Parse(c.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if p.String() != c.want {
				t.Fatalf("%s, want %s", p, c.want)
			}
			again, err := Parse(p.String())
			if err != nil || again != p {
				t.Errorf("read again: %v, %v; want the same pattern", again, err)
			}
		})
	}
}

// Each refusal says what is wrong, so that a signer can mend it.
func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct{ pattern, want string }{
		{"", "empty"},
		{".", "empty label"},
		{"..", "empty label"},
		{".johnwick.org", "empty label"},
		{"john..org", "empty label"},
		{"johnwick.org..", "empty label"},
		{"*.", "empty label"},
		{"*..org", "empty label"},
		{"**", "whole first label"},
		{"*johnwick.org", "whole first label"},
		{"a*.johnwick.org", "whole first label"},
		{"*.*.johnwick.org", "whole first label"},
		{"www.*.org", "whole first label"},
		{"johnwick.*", "whole first label"},
		{"＊.johnwick.org", `'*'`},
		{"http://johnwick.org", "URL"},
		{"johnwick.org:8443", "without a port"},
		{"*.johnwick.org:8443", "without a port"},
		{"johnwick.org/a", `'/'`},
		{"john wick.org", `' '`},
		{" johnwick.org", `' '`},
		{"user@johnwick.org", `'@'`},
		{"a.org,b.org", `','`},
		{"a\x00b", `'\x00'`},
		{"a\nb", `'\n'`},
		{"john\xffwick.org", "UTF-8"},
		{"xn--a.example", "not a host name"},
		{"xn--johnwick-.example", "not a host name"},
		{"xn--.example", "empty label"},
		{"10.0.0.5.", "ends in a number"},
		{"010.0.0.5", "ends in a number"},
		{"10.0.0.256", "ends in a number"},
		{"10.0.5", "ends in a number"},
		{"0x7f.0x1", "ends in a number"},
		{"a.0x", "ends in a number"},
		{"*.0.0.5", "ends in a number"},
		{"１０.0.0.5", "ends in a number"},
		{"fe80::1%eth0", "zone"},
		{"[fe80::1%eth0]", "zone"},
		{"[10.0.0.5]", "IPv4 address in brackets"},
		{"[::1]:443", "without a port"},
		{"[::1", "IPv6"},
		{"1::2::3", "IPv6"},
		{"*.::1", "IPv6"},
		{"a" + long + ".org", "label of 64 bytes"},
		{long + "." + long + "." + long + "." + long, "255 bytes as A-labels"},
		{strings.Repeat("a", MaxPattern+1), "1025 bytes"},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			p, err := Parse(c.pattern)
			if err == nil {
				t.Fatalf("read as %s, want an error", p)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want it to say %q", err, c.want)
			}
			if len(err.Error()) > 400 {
				t.Errorf("the error has %d bytes: %s", len(err.Error()), err)
			}
		})
	}
}

func TestIsIPv6(t *testing.T) {
	for pattern, want := range map[string]bool{
		"2001:db8::1": true, "::ffff:10.0.0.5": false, "10.0.0.5": false, "*": false, "*.a.org": false, "a.org": false,
	} {
		p, err := Parse(pattern)
		if err != nil || p.IsIPv6() != want {
			t.Errorf("%s: %t, %v; want %t", pattern, p.IsIPv6(), err, want)
		}
	}
}

func TestZeroPattern(t *testing.T) {
	var p Pattern
	if p.String() != "" || p.Signable() != nil || NewMatcher(p).Match("a.org") || NewMatcher(p).Match("") {
		t.Error("the zero pattern is not nothing")
	}
}

func TestSignable(t *testing.T) {
	for pattern, want := range map[string]bool{
		"*": true, "*.johnwick.org": true, "*.internal": true, "*.corp.internal": true, "*.localhost": true,
		"com": true, "github.io": true, "10.0.0.5": true, "*.a.github.io": true, "*.www.ck": true,
		"*.com": false, "*.CO.UK": false, "*.github.io": false, "*.ck": false, "*.anything.ck": false, "*.kawasaki.jp": false,
	} {
		p, err := Parse(pattern)
		if err == nil {
			err = p.Signable()
		}
		if (err == nil) != want {
			t.Errorf("%s: %v, want signable %t", pattern, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "public suffix") {
			t.Errorf("%s: %q does not say what is wrong", pattern, err)
		}
	}
}
