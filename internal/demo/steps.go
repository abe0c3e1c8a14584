package demo

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Step is one thing to try.
type Step struct {
	Name  string // one word or two, unique
	Shows string // what the answer shows; no quotes, which zsh would pair even here
	Line  string // for a POSIX shell, after the lines of the steps before
}

// Keeps tells whether the line sets what later lines use: a function or a
// variable.
func (s Step) Keeps() bool { return keeps.MatchString(s.Line) }

var keeps = regexp.MustCompile(`^([a-z]+\(\)|[A-Z]+=)`)

// Steps are in the order in which they are to be pasted: the first defines what
// the others use.
func (s *Stage) Steps() []Step {
	authorized := `-H "Authorization: Bearer $TOKEN"`
	with := func(args string) string {
		return `-H "Authorization: Bearer $(token ` + args + `)"`
	}
	steps := []Step{
		{
			"token", "a token by client credentials (RFC 6749, section 4.4), kept in $TOKEN",
			s.tokenFunction() + `; TOKEN=$(token); echo "$TOKEN"`,
		},
		{
			"let in", "200: the upstream shows who it is, as X-Auth-… headers, and no Authorization header",
			s.curl("-i", authorized, "/hello"),
		},
		{
			"spoofed", "200: X-Auth-Subject sent by the client is dropped, in every spelling; the upstream sees robot",
			s.curl("", authorized, `-H "X-Auth-Subject: root"`, `-H "x-auth.subject: root"`, "/hello"),
		},
		{"no token", "401: a challenge without an error, and where to get a token", s.curl("-i", "/hello")},
		{"malformed", "400 invalid_request: Bearer is followed by more than one word", s.curl("-i", `-H "Authorization: Bearer one two"`, "/hello")},
		{"forged", "401 invalid_token: one character more, and the signature does not hold", s.curl("-i", `-H "Authorization: Bearer ${TOKEN}A"`, "/hello")},
		{"expired", "401 invalid_token: the tokens of this client expired an hour ago", s.curl("-i", with("-u "+clientLate+":"+s.secret), "/hello")},
		{"audience", "401 invalid_token: the token is meant for somebody else", s.curl("-i", with("-d audience=https://other.example.com"), "/hello")},
		{"scope", "403 insufficient_scope: the challenge names the scope that is missing", s.curl("-i", with("-d scope=gateway.write"), "/hello")},
		{"group", "403: /admin is for the group admins", s.curl("-i", authorized, "/admin/")},
		{"admin", "200: a token with that group", s.curl("-i", with("-u "+clientAdmin+":"+s.secret), "/admin/")},
		{"grpc", "200 with grpc-status 16: a refusal as gRPC clients understand it", s.curl("-i", "--http2-prior-knowledge", "-X POST", `-H "Content-Type: application/grpc"`, "/grpc.Stream")},
		{"preflight", "200: a CORS preflight of a browser carries no token, and is let through", s.curl("-i", "-X OPTIONS", `-H "Origin: https://app.example.com"`, `-H "Access-Control-Request-Method: GET"`, "/hello")},
		{"query", "an event stream with the token in the query, as a browser has to send it", s.curl("-N", "/sse?n=3&access_token=$TOKEN")},
		{"open", "200: /open needs no token, and the upstream sees no subject", s.curl("-i", `-H "X-Auth-Subject: root"`, "/open/")},
		{"metadata", "RFC 9728: where clients learn which issuer to ask", s.curl("", "/.well-known/oauth-protected-resource")},
	}
	steps = append(steps, s.machineSteps()...)
	steps = append(steps, s.licenseSteps()...)
	return append(steps, s.loginSteps()...)
}

// tokenFunction prints an access token; arguments go to curl, where a second -u
// wins over the first.
func (s *Stage) tokenFunction() string {
	return fmt.Sprintf(`token() { curl -s -u %s:%s -d grant_type=client_credentials "$@" %s | sed 's/.*"access_token":"\([^"]*\)".*/\1/'; }`,
		clientRobot, s.secret, s.issuer.TokenURL())
}

// curl is a line whose last argument is a path of the gateway.
func (s *Stage) curl(flag string, args ...string) string {
	flag = "-s" + strings.TrimPrefix(flag, "-")
	last := len(args) - 1
	words := append([]string{"curl", flag}, args[:last]...)
	return strings.Join(append(words, `"`+s.Site+args[last]+`"`), " ")
}

// Colors of a terminal: bold for the lines to paste, dim for the rest.
const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

// Print writes the steps, with color where the reader is a terminal. What is not to
// be pasted is a shell comment, so that all of it can be pasted at once.
func (s *Stage) Print(w io.Writer, color bool) error {
	paint := func(code, text string) string {
		if !color {
			return text
		}
		return code + text + plain
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Gateway %s, issuer %s, upstream %s\n", s.Site, s.issuer.URL, s.upstream.URL)
	b.WriteString("# Paste the lines into another terminal (sh, bash or zsh), the first one first.\n")
	for i, step := range s.Steps() {
		fmt.Fprintf(&b, "\n%s\n%s\n", paint(dim, fmt.Sprintf("# %d. %s", i+1, step.Shows)), paint(bold, step.Line))
	}
	b.WriteString("\n# Ctrl-C ends the demo and removes everything it made.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
