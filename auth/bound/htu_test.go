package bound

import (
	"net/url"
	"strings"
	"testing"
)

func TestNormalForm(t *testing.T) {
	for uri, want := range map[string]string{
		"https://h":                         "https://h/",
		"https://h/":                        "https://h/",
		"HTTPS://H.Example./":               "https://h.example./",
		"https://h:443/":                    "https://h/",
		"https://h:0443/":                   "https://h/",
		"https://h:/":                       "https://h/",
		"https://h:80/":                     "https://h:80/",
		"http://h:80/":                      "http://h/",
		"http://h:443/":                     "http://h:443/",
		"https://h:08443/x":                 "https://h:8443/x",
		"https://[::1]":                     "https://[::1]/",
		"https://[0:0::0:1]:443/":           "https://[::1]/",
		"https://[2001:DB8::A]:8443/":       "https://[2001:db8::a]:8443/",
		"https://[::FFFF:1.2.3.4]/":         "https://[::ffff:1.2.3.4]/",
		"https://127.0.0.1:8080/":           "https://127.0.0.1:8080/",
		"https://h/%7euser/%41%2d%2E%5F":    "https://h/~user/A-._",
		"https://h/a%2fb%3f%23":             "https://h/a%2Fb%3F%23",
		"https://h/%c3%a4":                  "https://h/%C3%A4",
		"https://h/a|b^c`d{e}\"<>\\[]":      "https://h/a%7Cb%5Ec%60d%7Be%7D%22%3C%3E%5C%5B%5D",
		"https://h/!$&'()*+,;=:@":           "https://h/!$&'()*+,;=:@",
		"https://h/a/./b/../c":              "https://h/a/c",
		"https://h/..":                      "https://h/",
		"https://h/.":                       "https://h/",
		"https://h/../../a":                 "https://h/a",
		"https://h/a/..":                    "https://h/",
		"https://h/a/b/..":                  "https://h/a/",
		"https://h/a/b/.":                   "https://h/a/b/",
		"https://h/a//../b":                 "https://h/a/b",
		"https://h//":                       "https://h//",
		"https://h/.../..a/a..":             "https://h/.../..a/a..",
		"https://h/%2e%2E/%2e/a":            "https://h/a",
		"https://h/mid/content=5/../6":      "https://h/mid/6",
		"https://h/a/b/c/./../../g":         "https://h/a/g",
		"https://xn--bcher-kva.example/":    "https://xn--bcher-kva.example/",
		"https://h_1.example-2.com/a%20b+c": "https://h_1.example-2.com/a%20b+c",
	} {
		got, path, err := appendURI(nil, []byte(uri))
		if err != nil || string(got) != want || got[path] != '/' {
			t.Errorf("%s: got %s (path from %d), %v; expected %s", uri, got, path, err, want)
		}
	}
	for _, bad := range []string{
		"", "https", "https:", "https:/", "https://", "https:///", "https://:443/", "//h/", "h/", "/a", "ftp://h/", "httpss://h/", "javascript://h/",
		"https://u@h/", "https://u:p@h/", "https://@h/", "https://h:x/", "https://h:65536/", "https://h:0/", "https://h:-1/", "https://h:443:443/",
		"https://[::1/", "https://::1/", "https://[]/", "https://[::1]x/", "https://[::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[1.2.3.4]/", "https://[v1.x]/",
		"https://a b/", "https://a%2eb/", "https://ä/", "https://h/ä", "https://h/a b", "https://h/\x00", "https://h/\x7f", "https://h/%", "https://h/%4", "https://h/%4g", "https://h/%zz",
		" https://h/", "https://h/\n", "https://h\\@evil/", "https://h,g/", "https://*/",
	} {
		if got, _, err := appendURI(nil, []byte(bad)); err == nil {
			t.Errorf("%q is taken, as %s", bad, got)
		}
	}
	for _, bad := range []string{"https://h?", "https://h/?a", "https://h#", "https://h/a#b", "https://h/#"} {
		if _, _, err := appendURI(nil, []byte(bad)); err != errQuery {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTargets(t *testing.T) {
	for target, want := range map[string]string{
		"": "/", "/": "/", "*": "/", "/?a": "/", "/a?b?c": "/a", "/a/../b?/../c": "/b", "/a#b": "/a%23b", "/ä": "/%C3%A4",
		"http://h": "/", "http://h?q": "/", "https://h:1/a?b": "/a", "http://h/a://b/c": "/a://b/c", "/http://h/a": "/http://h/a",
	} {
		if got, ok := appendTargetPath(nil, target); !ok || string(got) != want {
			t.Errorf("%q: got %s, expected %s", target, got, want)
		}
	}
	for _, bad := range []string{"a", "h:443", "/%", "/a b", "**"} {
		if got, ok := appendTargetPath(nil, bad); ok {
			t.Errorf("%q is taken, as %s", bad, got)
		}
	}
}

func TestBases(t *testing.T) {
	me := newClient(t, "ES256", "me")
	base := func(scheme, host string) string {
		b, err := Base(scheme, host)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tt := range []struct {
		bases  []string
		target string
		htu    string
		want   *Refusal
	}{
		{[]string{base("https", "GW.example.com:443")}, "/", "https://gw.example.com", nil},
		{[]string{base("http", "[::1]:8080")}, "/a?b", "http://[0:0:0:0:0:0:0:1]:8080/a", nil},
		{[]string{base("http", "[::1]:8080")}, "/a", "http://[::2]:8080/a", ErrProofOrigin},
		{[]string{"https://a", "https://b"}, "/x", "https://b/x", nil},
		{[]string{"https://a", "https://b"}, "/x", "https://c/x", ErrProofOrigin},
		{[]string{"https://a", "https://b"}, "/x", "https://b/y", ErrProofPath},
		{nil, "/x", "https://b/x", ErrProofOrigin},
		{[]string{"https://a/api"}, "/x", "https://a/api/x", nil},
		{[]string{"https://a/api"}, "/x", "https://a/x", ErrProofPath},
		{[]string{"https://a/api"}, "/x", "https://a/apis/x", ErrProofPath},
		{[]string{"https://a/api"}, "/", "https://a/api", ErrProofPath},
		{[]string{"https://a/api", "https://a"}, "/x", "https://a/x", nil},
		{[]string{"https://a"}, "/x%", "https://a/x", ErrProofPath},
		{[]string{"https://a"}, "http://a/x?y", "https://a/x", nil},
		{[]string{"https://a:8443"}, "/x", "https://a/x", ErrProofOrigin},
		{[]string{"https://a"}, "/x", "https://a:8443/x", ErrProofOrigin},
	} {
		q := me.request(me.proof(t, nil, map[string]any{"htu": tt.htu}))
		q.Bases, q.Target = tt.bases, tt.target
		t.Run(strings.Join(tt.bases, " ")+tt.target+" "+tt.htu, func(t *testing.T) { refuses(t, newChecker(t), q, tt.want) })
	}
	for address, want := range map[string]string{
		"https://GW.example.com": "https://gw.example.com", "https://gw.example.com/": "https://gw.example.com",
		"http://h:80/api/": "http://h/api", "https://h/a/../b": "https://h/b", "https://h//": "https://h",
	} {
		if got, err := ParseBase(address); err != nil || got != want {
			t.Errorf("%s: got %s, %v", address, got, err)
		}
	}
	for _, bad := range []string{"", "gw.example.com", "https://h?a", "https://h#a", "ws://h"} {
		if _, err := ParseBase(bad); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, host := range []string{"", "a b", "a@b", "a/b", "a?b", "::1", "ä"} {
		if got, err := Base("https", host); err == nil {
			t.Errorf("the host %q is taken, as %s", host, got)
		}
	}
}

// FuzzURI: a normal form is its own normal form, and says the same as the URI.
func FuzzURI(f *testing.F) {
	for _, seed := range []string{"https://h/a%2fb/../c", "HTTP://[::1]:80", "https://h:8443/%7e|", "https://u@h/", "https://h?x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		normal, path, err := appendURI(nil, []byte(uri))
		if err != nil {
			return
		}
		again, path2, err := appendURI(nil, normal)
		if err != nil || string(again) != string(normal) || path2 != path {
			t.Fatalf("%q becomes %q, and that %q, %v", uri, normal, again, err)
		}
		parsed, err := url.Parse(string(normal))
		if err != nil || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.Host == "" {
			t.Fatalf("%q becomes %q, which is %+v, %v", uri, normal, parsed, err)
		}
		if before, err := url.Parse(uri); err == nil && !strings.EqualFold(before.Hostname(), parsed.Hostname()) && !strings.HasPrefix(parsed.Host, "[") {
			t.Fatalf("%q becomes %q: another host", uri, normal)
		}
		if base, err := ParseBase(uri); err != nil || !strings.HasPrefix(string(normal), base) {
			t.Fatalf("%q has the base %q, %v", uri, base, err)
		}
	})
}

// FuzzTarget: the path of a request has one normal form.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/a/../b?c", "*", "http://h/a", "/%2e%2e/x", "/ä|"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, ok := appendTargetPath(nil, target)
		if !ok {
			return
		}
		if path[0] != '/' || strings.Contains(string(path)+"/", "/../") || strings.Contains(string(path)+"/", "/./") {
			t.Fatalf("%q becomes %q", target, path)
		}
		again, ok := appendTargetPath(nil, string(path))
		if !ok || string(again) != string(path) {
			t.Fatalf("%q becomes %q, and that %q", target, path, again)
		}
	})
}
