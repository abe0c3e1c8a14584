package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// read reads an object with one member of each kind.
func read(text string) (string, error) {
	v, err := Parse([]byte(text))
	if err != nil {
		return "", err
	}
	var found []string
	keep := func(value any, err error) error {
		found = append(found, fmt.Sprint(value))
		return err
	}
	err = v.Read(Fields{
		"text": func(v Value) error { return keep(v.Text()) },
		"int":  func(v Value) error { return keep(v.Integer()) },
		"list": func(v Value) error {
			elements, err := v.Elements(2, "an array of strings")
			for _, element := range elements {
				if err := keep(element.Text()); err != nil {
					return err
				}
			}
			return err
		},
		"inner": func(v Value) error {
			return v.Read(Fields{"a.b": func(v Value) error { return keep(v.Integer()) }}, "a.b")
		},
	}, "int")
	return strings.Join(found, " "), err
}

func TestReads(t *testing.T) {
	for text, want := range map[string]string{
		`{"int":1}`:                      "1",
		" {\n\"int\" : -0 } \t":          "", // see below
		`{"int":9007199254740992}`:       "9007199254740992",
		`{"int":1,"text":"a\u00e9\n"}`:   "1 aé\n",
		`{"int":1,"list":[]}`:            "1",
		`{"list":["a","b"],"int":1}`:     "a b 1",
		`{"inner":{"a.b":2},"int":1}`:    "2 1",
		`{"in\u0074":3}`:                 "3",
		`{"int":-9007199254740992     }`: "-9007199254740992",
	} {
		got, err := read(text)
		if want == "" {
			if err == nil {
				t.Errorf("%s: read as %s, want an error", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		text    string
		problem Problem
		path    string
		words   string // of the error
	}{
		{"", Incomplete, "", "ends before"},
		{`{"int":1`, Incomplete, "", "ends before"},
		{`{"int":1}}`, Trailing, "", "follows"},
		{`{"int":1} null`, Trailing, "", "follows"},
		{`{"int":01}`, Syntax, "", "at byte"},
		{"{\"text\":\"\xff\"}", Syntax, "", "at byte"},
		{`{"text":"\ud800"}`, Syntax, "", "at byte"},
		{"\ufeff{}", Syntax, "", "at byte"},
		{`{"int":1,"int":1}`, Repeated, "int", "twice"},
		{`{"inner":{"a.b":1,"a\u002eb":1},"int":1}`, Repeated, "inner.a.b", "twice"},
		{`{"int":1,"other":{"a":1,"a":1}}`, Repeated, "other.a", "twice"},
		{`[]`, Mismatch, "", "is an array; want an object"},
		{`null`, Mismatch, "", "is null; want an object"},
		{`{}`, Missing, "int", "missing"},
		{`{"int":1,"inner":{}}`, Missing, "inner.a.b", "missing"},
		{`{"Int":1}`, Unknown, "", `want it spelled "int"`},
		{`{"int":1,"inner":{"x":1}}`, Unknown, "inner", "want none but a.b"},
		{`{"` + strings.Repeat("x", 9000) + `":1}`, Unknown, "", "…"},
		{`{"int":null}`, Mismatch, "int", "is null; want an integer"},
		{`{"int":true}`, Mismatch, "int", "is a boolean"},
		{`{"int":"1"}`, Mismatch, "int", "is a string"},
		{`{"int":1.0}`, Mismatch, "int", "plain digits"},
		{`{"int":1e3}`, Mismatch, "int", "plain digits"},
		{`{"int":9007199254740993}`, Mismatch, "int", "2^53"},
		{`{"int":` + strings.Repeat("9", 5000) + `}`, Mismatch, "int", "2^53"},
		{`{"text":1}`, Mismatch, "text", "is a number; want a string"},
		{`{"text":{}}`, Mismatch, "text", "is an object"},
		{`{"list":"a"}`, Mismatch, "list", "want an array of strings"},
		{`{"list":["a",null]}`, Mismatch, "list[1]", "is null"},
		{`{"list":["a","b","c"]}`, TooMany, "list", "more than 2"},
		{`{"inner":[]}`, Mismatch, "inner", "want an object"},
		{`{"list":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, Mismatch, "list[0]", "is an array"},
		{strings.Repeat(`{"inner":`, 20000), Syntax, "", "at byte"},
	} {
		_, err := read(c.text)
		var e *Error
		if !errors.As(err, &e) || e.Problem != c.problem || e.Path != c.path || !strings.Contains(e.Error(), c.words) {
			t.Errorf("%.80s: got %#v; want problem %d at %q with %q", c.text, err, c.problem, c.path, c.words)
			continue
		}
		if len(e.Error()) > 300 {
			t.Errorf("%.80s: the error repeats the input: %s", c.text, e)
		}
	}
}

// What is read here, encoding/json reads as the same, and what it refuses is
// refused here.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"int":1}`, `{"list":["a"],"text":"b","int":-7}`, `{"int":1,"int":2}`, "{\"text\":\"\xff\"}", `{"inner":{"a.b":1}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := read(text)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%q: the error is a %T", text, err)
		}
		if err != nil {
			return
		}
		var same struct {
			Int  *int64   `json:"int"`
			Text *string  `json:"text"`
			List []string `json:"list"`
		}
		if err := json.Unmarshal([]byte(text), &same); err != nil {
			t.Fatalf("%q is read as %q, but encoding/json says %v", text, got, err)
		}
		if same.Int == nil || !strings.Contains(got, fmt.Sprint(*same.Int)) || same.Text != nil && !strings.Contains(got, *same.Text) {
			t.Fatalf("%q is read as %q, but encoding/json finds %+v", text, got, same)
		}
	})
}

// A caller words what is wrong with a member by its bare name.
func TestNamesTheMemberAtFault(t *testing.T) {
	for text, want := range map[string]Error{
		`{"int":1,"a\"b":{"x y":1,"x y":2}}`: {Problem: Repeated, Path: `"a\"b".x y`, Found: "x y"},
		`{"INT":1}`:                          {Problem: Unknown, Found: "INT", Want: `it spelled "int"`, Spelling: "int"},
		`{"ints":1}`:                         {Problem: Unknown, Found: "ints", Want: "none but inner, int, list, text"},
	} {
		_, err := read(text)
		if got := new(Error); !errors.As(err, &got) || *got != want {
			t.Errorf("%s: got %#v; want %#v", text, err, want)
		}
	}
}

// A quoted text is cut between characters, and what is not UTF-8 in it is shown.
func TestQuote(t *testing.T) {
	for s, want := range map[string]string{
		"abc": `"abc"`, "abcd": `"abcd"`, "abcde": `"abcd"…`, "abcü": `"abc"…`, "\xffbcde": `"\xffbcd"…`, "üüü": `"üü"…`,
	} {
		if got := Quote(s, 4); got != want {
			t.Errorf("%q is quoted as %s; want %s", s, got, want)
		}
	}
}
