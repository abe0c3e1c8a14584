package command

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSplitList(t *testing.T) {
	for _, c := range []struct {
		given  bool
		values []string
		want   []string
	}{
		{false, nil, nil},
		{true, nil, []string{}},
		{true, []string{""}, []string{}},
		{true, []string{"a"}, []string{"a"}},
		{true, []string{"a,b", "c"}, []string{"a", "b", "c"}},
		{true, []string{" a , b "}, []string{"a", "b"}},
		{true, []string{"a,,b"}, []string{"a", "", "b"}},
		{true, []string{","}, []string{"", ""}},
		{true, []string{"a", "", "b"}, []string{"a", "b"}},
	} {
		got := splitList(c.given, c.values)
		if !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("splitList(%v, %q) is %q; want %q", c.given, c.values, got, c.want)
		}
	}
}

func TestParseLimits(t *testing.T) {
	for pairs, want := range map[string]map[string]int64{
		"":                   nil,
		"seats=50":           {"seats": 50},
		"a=1;b=-2;c=0":       {"a": 1, "b": -2, "c": 0},
		" spaced = 7 ":       {"spaced": 7},
		"=1":                 {"": 1}, // the license says what a name is
		"n=9007199254740992": {"n": 1 << 53},
	} {
		var list []string
		if pairs != "" {
			list = strings.Split(pairs, ";")
		}
		got, err := parseLimits(list)
		if err != nil || !maps.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%q is %v, %v; want %v", pairs, got, err, want)
		}
	}
	for _, bad := range []string{"seats", "seats=", "seats=1.5", "seats=1=2", "seats=0x10", "seats=99999999999999999999", ""} {
		if got, err := parseLimits([]string{bad}); err == nil || !strings.Contains(err.Error(), "want name=integer") {
			t.Errorf("%q is %v, %v; want an error", bad, got, err)
		}
	}
}

func TestParseMoment(t *testing.T) {
	p := newShell(t).program
	for text, want := range map[string]time.Time{
		"2027-01-31T00:00:00Z":      time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		"2027-01-31T01:30:00+01:30": time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		"2027-01-31":                time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		"90d":                       noon.AddDate(0, 0, 90),
		"1d12h":                     noon.Add(36 * time.Hour),
		"1500ms":                    noon.Add(time.Second),
	} {
		got, err := p.parseMoment("when", text)
		if err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "now", "0d", "-1d", "2027-02-30", "2027-01-31 00:00", "31.1.2027", "1798761600", strings.Repeat("9", 1000)} {
		_, err := p.parseMoment("when", bad)
		if err == nil || !strings.HasPrefix(err.Error(), "when: found") || len(err.Error()) > 300 {
			t.Errorf("%.40q: got %v", bad, err)
		}
	}
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "14d": 14 * 24 * time.Hour, "168h": 168 * time.Hour, "90s": 90 * time.Second} {
		if got, err := parseSpan("grace", text); err != nil || got != want {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "soon", "5", "d", "1d1d"} {
		if _, err := parseSpan("grace", bad); err == nil || !strings.HasPrefix(err.Error(), "grace: ") || strings.Contains(err.Error(), "expire_at") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestReadBounded(t *testing.T) {
	if got, err := readBounded(strings.NewReader("abc"), "it", 3); err != nil || string(got) != "abc" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := readBounded(strings.NewReader("abcd"), "it", 3); err == nil || err.Error() != "it has more than 3 bytes; want at most that" {
		t.Errorf("got %v", err)
	}
}
