package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"Ünïcode … 日本 🙂":          "Ünïcode … 日本 🙂",
		"a\tb\nc":                 `a\tb\nc`,
		"\x1b[31mred":             `\x1b[31mred`,
		"\u009b2J":                `\u009b2J`,
		"\u202eevil":              `\u202eevil`,
		"\u200b":                  `\u200b`,
		"\xff\xfe":                `\xff\xfe`,
		"\ufffd":                  "\ufffd",
		"cut \xe2\x82":            `cut \xe2\x82`,
		"it's \"quoted\" \\ \x00": `it's "quoted" \ \x00`,
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) is %q; want %q", in, got, want)
		}
	}
}

// FuzzPlain holds for whatever a server may say.
func FuzzPlain(f *testing.F) {
	f.Add("\x1b[31m")
	f.Add("a\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		shown := plain(s)
		for _, r := range shown {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Fatalf("%q shows %q", s, r)
			}
		}
		document, err := json.Marshal(map[string]string{"text": s})
		if err != nil {
			t.Fatal(err)
		}
		var before, after map[string]string
		inert := escapeJSON(document)
		if json.Unmarshal(document, &before) != nil || json.Unmarshal(inert, &after) != nil || before["text"] != after["text"] {
			t.Fatalf("%s became %s", document, inert)
		}
		if plain(string(inert)) != string(inert) {
			t.Fatalf("%q is not inert", inert)
		}
	})
}

func TestClip(t *testing.T) {
	if got := clip(strings.Repeat("ü", 60)); got != strings.Repeat("ü", 60) {
		t.Errorf("got %q", got)
	}
	if got := clip(strings.Repeat("ü", 61)); got != strings.Repeat("ü", 57)+"..." {
		t.Errorf("got %q", got)
	}
}

func TestDistance(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "now", 500 * time.Millisecond: "now", -999 * time.Millisecond: "now", time.Second: "in 1 s", -59 * time.Second: "59 s ago",
		time.Minute: "in 1 minute", 90 * time.Minute: "in 1 hour", -3 * time.Hour: "3 hours ago", 25 * time.Hour: "in 1 day",
		-400 * 24 * time.Hour: "400 days ago", 1<<63 - 1: "in 106751 days", -1 << 63: "106751 days ago",
	} {
		if got := distance(d); got != want {
			t.Errorf("distance(%s) is %q; want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0 s", 48 * time.Hour: "2 days", 36 * time.Hour: "36h0m0s"} {
		if got := exactly(d); got != want {
			t.Errorf("exactly(%s) is %q; want %q", d, got, want)
		}
	}
}

// brokenPipe is a reader who left.
type brokenPipe struct{}

var errGone = errors.New("nobody reads")

func (brokenPipe) Write([]byte) (int, error) { return 0, errGone }

// TestNobodyReads wants an error, and so an exit status other than 0, where a
// result could not be written.
func TestNobodyReads(t *testing.T) {
	g, s := newSite(t)
	g.people()
	g.status = `{"version":"v1","license":{"state":"valid"},"issuers":[],"accounts":{}}`
	g.says("POST /api/tokens/explain", answer{status: 200, body: someExplanation})
	g.says("GET /api/v4/sso_url", answer{status: 200, body: `{"url":"https://a.example"}`})
	text := s.license()
	path, key := s.file("license.json", text, 0o600), s.vendorKey()
	accounts := s.file("accounts.jsonl", `{"subject":"new","status":"active"}`, 0o600)
	for _, args := range [][]string{
		{"keygen", "--out", t.TempDir() + "/a"}, {"verify", "--trusted-key", key + ".pub", path}, {"inspect", path},
		{"sign", "--key", key, "--type", "oss", "--allowed-hosts", "*", "--description", "All", "--expire-at", "1h"},
		{"status", "--address", g.address()}, {"keys", "--address", g.address()}, {"licenses", "--address", g.address()},
		{"install", "--address", g.address(), path}, {"sso-url", "--product", "p", "--account", "a", "--address", g.address()},
		{"token", "explain", "--address", g.address()}, {"keys", "refresh", "--address", g.address()},
		{"service-account", "list", "--address", g.address()}, {"service-account", "export", "--address", g.address()},
		{"service-account", "show", "off", "--address", g.address()}, {"service-account", "delete", "off", "--address", g.address()},
		{"service-account", "list", "--json", "--address", g.address()}, {"service-account", "import", accounts, "--address", g.address()},
	} {
		caddy := s.caddy()
		caddy.SetArgs(append([]string{"gatehouse"}, args...))
		caddy.SetIn(strings.NewReader("aaaa.bbbb.cccc"))
		caddy.SetOut(brokenPipe{})
		caddy.SetErr(&bytes.Buffer{})
		if err := caddy.Execute(); !errors.Is(err, errGone) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

// TestOnlyDataOnStdout runs commands that have more to tell than their result: it is
// JSON and nothing else, and nowhere colored.
func TestOnlyDataOnStdout(t *testing.T) {
	g, s := newSite(t)
	g.people()
	g.status, g.issuers = fmt.Sprintf(someStatus, someIssuers), someIssuers
	g.says("POST /api/tokens/explain", answer{status: http.StatusOK, body: someExplanation})
	s.program.secret = func(any) ([]byte, error) { return []byte("aaaa.bbbb.cccc"), nil }
	for _, onTerminal := range []bool{false, true} {
		s.program.terminal = func(any) bool { return onTerminal }
		for _, command := range []struct{ args, stdin, note string }{
			{"keygen --out " + filepath.Join(t.TempDir(), "vendor.key"), "", "note: "},
			{"inspect -", s.license(), "note: "},
			{"status", "", ""},
			{"keys", "", ""},
			{"service-account list", "", ""},
			{"service-account export", "", "note: "},
			{"service-account disable off", "", "note: "},
			{"service-account import -", `{"subject":"new","status":"active","issuer":"acme"}`, "created 1"},
			{"token explain", "aaaa.bbbb.cccc", ""},
		} {
			if strings.HasPrefix(command.args, "keygen") || strings.HasPrefix(command.args, "inspect") {
				s.connection = nil
			} else {
				s.connection = []string{"--address", g.address()}
			}
			delete(g.accounts, "new")
			r := s.typed(command.stdin).must(append(strings.Fields(command.args), "--json")...)
			decoder := json.NewDecoder(strings.NewReader(r.stdout))
			values := 0
			for ; decoder.Decode(new(any)) == nil; values++ {
			}
			if _, err := decoder.Token(); values == 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%s: stdout is not JSON: %q", command.args, r.stdout)
			}
			if !strings.Contains(r.stderr, command.note) || strings.Contains(r.stdout+r.stderr, "\x1b[3") {
				t.Errorf("%s: stderr is %q", command.args, r.stderr)
			}
		}
	}
}

// TestExplainSaysThatNoRouteWasAsked: a token that is good may still be refused by a route.
func TestExplainSaysThatNoRouteWasAsked(t *testing.T) {
	g, s := newSite(t)
	g.people()
	g.says("POST /api/tokens/explain", answer{status: http.StatusOK, body: `{"verdict":"let_in","reason":"","message":"the token is good","issuer":"acme","rules":[],"claims":null}`})
	for args, want := range map[string]bool{"token explain": true, "token explain --rule payments": false, "token explain --json": false} {
		r := s.typed("aaaa.bbbb.cccc").run(strings.Fields(args)...)
		if r.err != nil || strings.Contains(r.stderr, "no rules of a route were asked") != want {
			t.Errorf("%s: %v, stderr %q", args, r.err, r.stderr)
		}
	}
}
