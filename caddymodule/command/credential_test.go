package command

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

func TestWhereTheTokenIsFrom(t *testing.T) {
	g, s := newSite(t)
	const other = "b3RoZXI.dG9r.ZW4="
	g.token = other
	s.fails([]string{"HTTP 401", "a bearer token is needed", "token of the environment variable GATEHOUSE_TOKEN is not accepted"}, "keys")

	file := s.file("token", other+"\n", 0o600)
	if r := s.must("keys", "--token-file", file); r.stderr != "" {
		t.Errorf("the file's token: %s", r.stderr)
	}
	delete(s.env, tokenVariable)
	s.fails([]string{"HTTP 401", "No token was sent", "--token-file", "GATEHOUSE_TOKEN"}, "keys")
	g.token = ""
	s.must("keys") // trust_admin_endpoint
}

func TestTokenFilesOthersMayRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	_, s := newSite(t)
	file := s.file("token", goodToken, 0o604)
	r := s.must("keys", "--token-file", file)
	if !strings.Contains(r.stderr, "warning: "+file+" has the mode 0604") {
		t.Errorf("no warning: %q", r.stderr)
	}
}

func TestBadTokens(t *testing.T) {
	g, s := newSite(t)
	for name, text := range map[string]string{
		"two": goodToken + " " + goodToken, "with a scheme": "Bearer " + goodToken, "with a line end inside": "a\nb",
		"not ASCII": "tökén", "long": strings.Repeat("a", 16<<10+1),
	} {
		for _, flags := range [][]string{{"--token-file", s.file("token", text, 0o600)}, {}} {
			s.env[tokenVariable] = text
			if r := s.fails([]string{"holds no bearer token"}, append([]string{"keys"}, flags...)...); strings.Contains(r.stderr, text) {
				t.Errorf("%s: the token is shown: %s", name, r.stderr)
			}
		}
	}
	s.env[tokenVariable] = goodToken
	s.fails([]string{"holds no token"}, "keys", "--token-file", s.file("token", " \n", 0o600))
	s.fails([]string{"holds no token"}, "keys", "--token-file", s.file("token", "", 0o600))
	s.fails([]string{"reading the token", "no-such-file"}, "keys", "--token-file", "no-such-file")
	s.fails([]string{"reading the token"}, "keys", "--token-file", "")
	s.fails([]string{"more than 65536 bytes"}, "keys", "--token-file", s.file("token", strings.Repeat("a", 65537), 0o600))
	g.wantAsked()
}

// TestRefusals shows the server's words, and what can be done.
func TestRefusals(t *testing.T) {
	g, s := newSite(t)
	for name, c := range map[string]struct {
		answer answer
		want   []string
		not    string
	}{
		"message":      {answer{status: 409, body: `{"message":"a file is configured"}`}, []string{"HTTP 409 Conflict: a file is configured"}, "--token-file"},
		"forbidden":    {answer{status: 403, body: `{"message":"not of the group"}`}, []string{"HTTP 403 Forbidden: not of the group", "may not do this", "--token-file"}, ""},
		"Caddy's own":  {answer{status: 403, body: `{"error":"host not allowed: x"}`}, []string{"HTTP 403 Forbidden: host not allowed: x"}, "--token-file"},
		"no Gatehouse": {answer{status: 404, body: "404 page not found\n"}, []string{"HTTP 404", "Is Gatehouse built into the Caddy at"}, ""},
		"storage": {answer{status: 503, header: http.Header{"Retry-After": {"5"}}, body: `{"message":"storage cannot be written now"}`},
			[]string{"HTTP 503 Service Unavailable: storage cannot be written now", "Try again in 5 s"}, ""},
		"escapes":   {answer{status: 500, body: `{"message":"\u001b[2J\u202egone"}`}, []string{`\x1b[2J\u202egone`}, "\x1b"},
		"the token": {answer{status: 500, body: `{"message":"what is ` + goodToken + `?"}`}, []string{"what is (the token)?"}, goodToken},
		"endless":   {answer{status: 500, body: `{"message":"` + strings.Repeat("x", 60000) + `"}`}, []string{"xxx..."}, strings.Repeat("x", 3000)},
		"not JSON":  {answer{status: 200, body: "<html>"}, []string{"is not what Gatehouse answers", "is it Caddy's admin endpoint?"}, "<html>"},
		"empty":     {answer{status: 200}, []string{"is not what Gatehouse answers"}, ""},
		"a list":    {answer{status: 200, body: "[1]"}, []string{"is not what Gatehouse answers"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g.answers["GET /api/status"] = c.answer
			r := s.fails(c.want, "status")
			if c.not != "" && strings.Contains(r.stderr, c.not) {
				t.Errorf("stderr holds %.40q:\n%.4000s", c.not, r.stderr)
			}
		})
	}
}

func TestCredentialIsNotPrinted(t *testing.T) {
	c := credential{text: goodToken, source: "here"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, value := range []any{c, &c, struct{ C credential }{c}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, goodToken) {
				t.Errorf("%s of %T shows the token: %s", verb, value, text)
			}
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	g, s := newSite(t)
	g.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part := []byte(strings.Repeat(" ", 1<<20))
		for range maxAnswer>>20 + 1 {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	s.fails([]string{"more than 67108864 bytes"}, "status")
}
