package command

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"
)

// online are all commands that ask a server, with what they need. LICENSE and
// LINES stand for files.
var online = [][]string{
	{"install", "LICENSE"}, {"licenses"}, {"status"}, {"keys"}, {"keys", "refresh"}, {"keys", "refresh", "acme"},
	{"sso-url", "--product", "p", "--account", "a"}, {"token", "explain"},
	{"service-account", "list"}, {"service-account", "export"}, {"service-account", "show", "ci-deploy"},
	{"service-account", "create", "new"}, {"service-account", "enable", "off"}, {"service-account", "disable", "ci-deploy"},
	{"service-account", "delete", "off"}, {"service-account", "import", "LINES"},
}

const explainedToken = "ZXhwbGFpbmVk.dG9r.ZW4"

// files makes the files that a command names.
func (s *shell) files(args []string) []string {
	named := strings.Join(args, "\x00")
	if strings.Contains(named, "LICENSE") {
		named = strings.ReplaceAll(named, "LICENSE", s.file("license.json", s.license(), 0o600))
	}
	if strings.Contains(named, "LINES") {
		named = strings.ReplaceAll(named, "LINES", s.file("accounts.jsonl", `{"subject":"new","status":"active"}`, 0o600))
	}
	return strings.Split(named, "\x00")
}

// TestFaultsOfTheServer lets every command meet everything that can be wrong
// with a server: an error, no result on stdout, and no token anywhere.
func TestFaultsOfTheServer(t *testing.T) {
	hangUp := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	says := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		"unauthorized": {says(401, `{"message":"the token has expired"}`), "HTTP 401 Unauthorized: the token has expired\n"},
		"forbidden":    {says(403, `{"message":"a group is missing"}`), "HTTP 403 Forbidden: a group is missing\n"},
		"Caddy's own":  {says(403, `{"error":"client is not allowed to access from origin ''"}`), "client is not allowed to access"},
		"not allowed":  {says(405, `{"message":"method not allowed"}`), "HTTP 405 Method Not Allowed: method not allowed"},
		"too large":    {says(413, `{"message":"the body is larger"}`), "HTTP 413"},
		"internal":     {says(500, `{"message":"internal error"}`), "HTTP 500 Internal Server Error: internal error"},
		"a page":       {says(502, "<html><body>bad gateway"), "HTTP 502 Bad Gateway"},
		"echo":         {says(500, `{"message":"`+goodToken+` `+explainedToken+`"}`), "HTTP 500"},
		"status 600":   {says(600, `{"message":"odd"}`), "HTTP 600"},
		"redirect":     {says(307, ""), "sends requests elsewhere"},
		"hang-up":      {hangUp, "asking "},
	} {
		t.Run(name, func(t *testing.T) {
			g, s := newSite(t)
			g.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				c.answer(w)
			})
			for _, args := range online {
				args = s.files(args)
				r := s.typed(explainedToken).run(args...)
				if r.err == nil || !strings.Contains(r.stderr, c.want) {
					t.Errorf("%v: %v; want %q in\n%s", args, r.err, c.want, r.stderr)
				}
				if r.stdout != "" && !(args[0] == "keys" && len(args) == 3) { // which tells of each issuer
					t.Errorf("%v prints %s", args, r.stdout)
				}
				if strings.Contains(r.stderr, goodToken) || args[0] == "token" && strings.Contains(r.stderr, explainedToken) {
					t.Errorf("%v: the token is shown: %s", args, r.stderr)
				}
				if strings.Contains(r.stderr, "Usage:") {
					t.Errorf("%v: the usage is shown: %s", args, r.stderr)
				}
			}
		})
	}
}

// TestNoCommandFollowsOddAnswers gives JSON that is not what was asked for.
func TestNoCommandFollowsOddAnswers(t *testing.T) {
	for _, body := range []string{"", "null", "true", `"text"`, "[1]", `[[]]`, `{"licenses":1}`, "{", `{"license":[],"verdict":1,"url":[],"subject":1,"keys":1}`} {
		g, s := newSite(t)
		g.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, body)
		})
		for _, args := range online {
			r := s.typed(explainedToken).run(s.files(args)...)
			name := strings.Join(args, " ")
			if body == "null" && strings.HasPrefix(name, "keys") { // no issuers
				continue
			}
			reads := args[0] != "install" && name != "keys refresh acme" && name != "service-account delete off"
			if reads && r.err == nil {
				t.Errorf("%q is taken for an answer to %v: %s", body, args, r.stdout)
			}
		}
	}
}

// FuzzAnswers holds for whatever a server may say: no panic, nothing that a
// terminal obeys, and no token.
func FuzzAnswers(f *testing.F) {
	for i, body := range []string{
		someExplanation, someIssuers, `{"license":{"state":"valid","key_id":"\u001b"},"issuers":[{}],"accounts":{}}`, `{"url":"https://\u202e"}`,
		`{"licenses":[{"id":"a","license":{"payload":{"expire_at":99999999999999}}}]}`, `[{"subject":"a\u009b","expires_at":"x"}]`,
		`{"subject":"a","status":"inactive"}`, `{"line":1,"result":"created","subject":"\u0007"}`,
	} {
		f.Add(byte(i), 200, body)
		f.Add(byte(i), 500, body)
	}
	var status int
	var body string
	f.Fuzz(func(t *testing.T, which byte, code int, text string) {
		g, s := newSite(t)
		status, body = 200+abs(code%400), text
		g.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
		args := online[int(which)%len(online)]
		r := s.typed(explainedToken).run(s.files(args)...)
		for _, shown := range []string{r.stdout, r.stderr} {
			if bad := strings.IndexFunc(shown, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); bad >= 0 {
				t.Fatalf("%v of %d %q shows %q", args, status, body, shown[bad:])
			}
		}
		if strings.Contains(r.stderr, goodToken) {
			t.Fatalf("%v: the token is shown", args)
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
