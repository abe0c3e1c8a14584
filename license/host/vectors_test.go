package host

import (
	"os"
	"strings"
	"testing"
)

// vector is a row of testdata/hosts.tsv.
type vector struct {
	pattern, host, verdict, why string
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	data, err := os.ReadFile("../testdata/hosts.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("row %q has %d fields, want 4", line, len(f))
		}
		vectors = append(vectors, vector{f[0], f[1], f[2], f[3]})
	}
	return vectors
}

// verdict is what the package says of a pattern and a host, in the words of the
// vectors.
func verdict(t *testing.T, pattern, hostport string) string {
	t.Helper()
	m, bad := Compile([]string{pattern})
	matches := m.Match(hostport)
	p, err := Parse(pattern)
	switch {
	case err != nil:
		if len(bad) != 1 || matches {
			t.Errorf("a pattern that does not parse: %d errors, matches %t, want 1 and false", len(bad), matches)
		}
		return "badpat"
	case p.Signable() != nil && matches:
		return "nosign"
	case p.Signable() != nil:
		return "nosign, no match"
	case matches:
		return "allow"
	}
	return "deny"
}

func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	counts := make(map[string]int)
	for _, v := range vectors {
		t.Run(v.pattern+" "+v.host, func(t *testing.T) {
			if got := verdict(t, v.pattern, v.host); got != v.verdict {
				t.Errorf("%s, want %s (%s)", got, v.verdict, v.why)
			}
		})
		counts[v.verdict]++
	}
	for _, want := range []string{"allow", "deny", "badpat", "nosign"} {
		if counts[want] == 0 {
			t.Errorf("no row with the verdict %s", want)
		}
	}
}

// The sample rows of the specification beside the vectors' file.
func TestSamples(t *testing.T) {
	for _, v := range []vector{
		{pattern: "*.johnwick.org", host: "a.b.johnwick.org", verdict: "allow"},
		{pattern: "johnwick.org", host: "JohnWick.org.:8443", verdict: "allow"},
		{pattern: "*.johnwick.org", host: "*.johnwick.org", verdict: "deny"},
		{pattern: "*.internal", host: "db.internal", verdict: "allow"},
		{pattern: "*.localhost", host: "app.localhost:3000", verdict: "allow"},
		{pattern: "co.uk", host: "co.uk", verdict: "allow"},
		{pattern: "*.example.co.uk", host: "a.example.co.uk", verdict: "allow"},
		{pattern: "*.ck", host: "a.ck", verdict: "badpat"},
		{pattern: "*.kawasaki.jp", host: "a.b.kawasaki.jp", verdict: "nosign"},
		{pattern: "*.city.kawasaki.jp", host: "a.city.kawasaki.jp", verdict: "allow"},
		{pattern: "*.a.se", host: "x.a.se", verdict: "nosign"},
		{pattern: "*.公司.cn", host: "x.xn--55qx5d.cn", verdict: "nosign"},
		{pattern: "::ffff:10.0.0.5", host: "10.0.0.5", verdict: "allow"},
		{pattern: "[2001:db8::1]", host: "[2001:db8::0:1]", verdict: "allow"},
		{pattern: "my_host.example", host: "MY_host.example", verdict: "allow"},
		{pattern: "r3---sn-a.example", host: "r3---sn-a.example", verdict: "allow"},
		{pattern: "a。example", host: "a.example", verdict: "allow"},
	} {
		t.Run(v.pattern+" "+v.host, func(t *testing.T) {
			if got := verdict(t, v.pattern, v.host); got != v.verdict {
				t.Errorf("%s, want %s", got, v.verdict)
			}
		})
	}
}
