package auth

import (
	"regexp"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	tests := []struct {
		value   string
		fit     []string
		misfits []string
	}{
		{"admin", []string{"admin"}, []string{"", "Admin", "admin ", "admins"}},
		{"", []string{""}, []string{"x"}},
		{"repo:acme/*", []string{"repo:acme/app", "repo:acme/app:ref:refs/heads/main", "repo:acme/*"},
			[]string{"repo:acme/", "repo:acme", "repo:acmeevil/app", "xrepo:acme/app", "repo:Acme/app"}},
		{"team-*", []string{"team-a", "team--"}, []string{"team-", "team"}},
		{"repo:acme/*:environment:prod", []string{"repo:acme/app:environment:prod", "repo:acme/my.app:environment:prod"},
			[]string{"repo:acme/:environment:prod", "repo:acme/app/x:environment:prod", "repo:acme/app:x:environment:prod",
				"repo:acme/app:environment:prod2", "repo:acme/app:environment:production", "repo:acme/app:ref:x:environment:prod"}},
		{"repo:*:ref:refs/heads/main", []string{"repo:acme/app:ref:refs/heads/main"}, []string{"repo::ref:refs/heads/main", "repo:a:b:ref:refs/heads/main"}},
		{"spiffe://acme.example/*/*/web", []string{"spiffe://acme.example/ns/prod/web"},
			[]string{"spiffe://acme.example/prod/web", "spiffe://acme.example//prod/web", "spiffe://acme.example/a/b/c/web", "spiffe://acme.example/ns/prod/web/"}},
		{"a/*/b*", []string{"a/x/bc"}, []string{"a/x/b", "a//bc"}},
		{`read:\*`, []string{"read:*"}, []string{"read:x", `read:\*`, "read:"}},
		{`a\*b`, []string{"a*b"}, []string{"axb"}},
		{`acme\ops`, []string{`acme\ops`}, []string{"acmeops"}},
		{`x:\**`, []string{"x:*y"}, []string{"x:*", "x:y"}},
	}
	for _, tt := range tests {
		p, err := compilePattern(tt.value)
		if err != nil {
			t.Errorf("%q: %v", tt.value, err)
			continue
		}
		for _, text := range tt.fit {
			if !p.match(text) {
				t.Errorf("%q does not fit %q", text, tt.value)
			}
		}
		for _, text := range tt.misfits {
			if p.match(text) {
				t.Errorf("%q fits %q", text, tt.value)
			}
		}
	}
}

func TestPatternErrors(t *testing.T) {
	for value, want := range map[string]string{
		"*":      "found *, which every value would fit: write \\* for the character itself",
		"*:read": `found "*:read", expected * only at the end, or between two of the separators /:.|@#`,
		"a*b":    "only at the end",
		"a/**":   "only at the end",
		"a/*b/c": "only at the end",
		"a/x*/c": "only at the end",
		"**":     "only at the end",
	} {
		if _, err := compilePattern(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, expected %q", value, err, want)
		}
	}
}

// FuzzPattern: what fits a pattern is what the regular expression of the same meaning
// matches.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"repo:acme/*", "repo:acme/app"}, {"repo:acme/*:environment:prod", "repo:acme/app:environment:prod"}, {"a/*/*", "a/b/c"},
		{`read:\*`, "read:*"}, {"*", ""}, {"a|*@b", "a|x@b"}, {"a.*.*.b*", "a.x.y.bz"}, {"", ""}, {"é/*", "é/\xff"}, {"a/*/b", "a/\xff/b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, value, text string) {
		p, err := compilePattern(value)
		if err != nil {
			return
		}
		var same strings.Builder
		same.WriteString(`(?s)\A`)
		for i, part := range p.texts {
			if i > 0 {
				same.WriteString("[^" + regexp.QuoteMeta(p.stops[i-1]) + "]+")
			}
			same.WriteString(regexp.QuoteMeta(part))
		}
		if p.open {
			same.WriteString(".+")
		}
		expression, err := regexp.Compile(same.String() + `\z`)
		if err != nil {
			return // the value is no UTF-8
		}
		if got, want := p.match(text), expression.MatchString(text); got != want {
			t.Errorf("%q fits %q: %v, expected %v", text, value, got, want)
		}
		if !strings.Contains(value, "*") && p.match(text) != (text == value) {
			t.Errorf("%q without * is not taken by the letter", value)
		}
	})
}
