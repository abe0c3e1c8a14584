package license

import (
	"reflect"
	"strings"
	"testing"
)

func TestText1(t *testing.T) {
	p := Payload{Type: OSS, IssuedAt: -1, ExpireAt: 2, AllowedHosts: []string{"a.org"}, Description: "Acme"}
	if got, want := p.text1(), "oss:-1:2:a.org:Acme"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.AllowedHosts = append(p.AllowedHosts, "*.b.org")
	p.Features = []string{"a", "b-1"}
	if got, want := p.text1(), "oss:-1:2:a.org,*.b.org:Acme:a,b-1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParse1(t *testing.T) {
	for text, want := range map[string]fields1{
		"oss:1:2:a:b":         {"oss", "1", "2", []string{"a"}, "b", nil},
		"oss:1:2:a,b:c":       {"oss", "1", "2", []string{"a", "b"}, "c", nil},
		"oss:1:2::":           {"oss", "1", "2", []string{""}, "", nil},
		"oss:1:2:a:b:c":       {"oss", "1", "2", []string{"a"}, "b", []string{"c"}},
		"oss:1:2:a:b:c,d-1":   {"oss", "1", "2", []string{"a"}, "b", []string{"c", "d-1"}},
		"oss:1:2:a:b:c:d":     {"oss", "1", "2", []string{"a"}, "b:c", []string{"d"}},
		"oss:1:2:a:b: c":      {"oss", "1", "2", []string{"a"}, "b: c", nil},
		"oss:1:2:a:b:c:":      {"oss", "1", "2", []string{"a"}, "b:c:", nil},
		"oss:1:2:a:b:c,":      {"oss", "1", "2", []string{"a"}, "b:c,", nil},
		"oss:1:2:a:b:-c":      {"oss", "1", "2", []string{"a"}, "b:-c", nil},
		"oss:1:2:a:b:C":       {"oss", "1", "2", []string{"a"}, "b:C", nil},
		"oss:1:2:a:b:c\n":     {"oss", "1", "2", []string{"a"}, "b:c\n", nil},
		"oss:1:2:a::c":        {"oss", "1", "2", []string{"a"}, "", []string{"c"}},
		"oss:1:2:a:feature-x": {"oss", "1", "2", []string{"a"}, "feature-x", nil},
	} {
		if got, ok := parse1(text); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %t; want %+v", text, got, ok, want)
		}
	}
	if f, ok := parse1("oss:1:2:a"); ok {
		t.Errorf("a text of four fields reads as %+v", f)
	}
}

// The pairs share their text, and the guard lets at most one of each pass.
func TestGuardDecidesBetweenTwins(t *testing.T) {
	type pair struct {
		name string
		a, b Payload
	}
	make1 := func(description string, features []string, hosts ...string) Payload {
		return Payload{Type: Enterprise, IssuedAt: 1, ExpireAt: 2, AllowedHosts: hosts, Description: description, Features: features}
	}
	for _, p := range []pair{
		{"feature or description", make1("Acme:prod", nil, "a"), make1("Acme", []string{"prod"}, "a")},
		{"features or description", make1("Acme:a,b", nil, "a"), make1("Acme", []string{"a", "b"}, "a")},
		{"two hosts or one", make1("Acme", nil, "a,b"), make1("Acme", nil, "a", "b")},
		{"host or description", make1("Acme", nil, "a:b"), make1("b:Acme", nil, "a")},
		{"host, description and features", make1("x", []string{"y"}, "a:b c"), make1("b c:x", []string{"y"}, "a")},
		{"features holding a comma", make1("Acme", []string{"a,b"}, "a"), make1("Acme", []string{"a", "b"}, "a")},
		{"features holding a colon", make1("Acme", []string{"a:b"}, "a"), make1("Acme:a", []string{"b"}, "a")},
		{"none or no features", make1("Acme", []string{}, "a"), make1("Acme", nil, "a")},
	} {
		t.Run(p.name, func(t *testing.T) {
			if p.a.text1() != p.b.text1() {
				t.Fatalf("no twins: %q and %q", p.a.text1(), p.b.text1())
			}
			a, b := p.a.check(), p.b.check()
			if a == nil && b == nil {
				t.Errorf("both pass with the text %q", p.a.text1())
			}
		})
	}
}

func TestGuardMessages(t *testing.T) {
	p := Payload{Type: Enterprise, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a.org"}, Description: "Acme:prod"}
	wantError(t, p.check(), ReasonForm, "payload.description", "put a space after ':'")
	for description, ok := range map[string]bool{
		"Acme: prod": true, "Acme :prod": false, "Acme:Prod": true, "Acme: a:b": false, "Acme::": true, "12:30 Uhr": true, "12:30": false,
		"Acme:prod, eu": true, "Acme:prod,eu": false, "Acme:prod.": true, strings.Repeat(":", 200): true,
	} {
		p.Description = description
		if err := p.check(); (err == nil) != ok {
			t.Errorf("%q: %v, want it to pass: %t", description, err, ok)
		}
		p.Features = []string{"x"}
		if err := p.check(); err != nil {
			t.Errorf("%q with features, which end the text: %v", description, err)
		}
		p.Features = nil
	}
}
