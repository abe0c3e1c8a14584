package demo

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// Step is one thing to try.
type Step struct {
	Name  string // one word or two, unique
	Shows string // what the answer shows; no quotes, which zsh would pair even here
	Line  string // for a POSIX shell, after the lines of the steps before
}

// Keeps reports whether the line sets what later lines use: a function or a
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
		{"bound", "401 invalid_token: a token that is bound to a key is worth nothing to who stole it, as no DPoP proof of the key comes with it", s.curl("-i", `-H "Authorization: Bearer `+s.bound+`"`, "/hello")},
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
	steps = append(steps, s.loginSteps()...)
	return append(steps, s.activationSteps()...)
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

// machineSteps are the life of a machine that nobody knows yet: registered over
// the API, let in, switched off.
func (s *Stage) machineSteps() []Step {
	const machine, admin = `-H "Authorization: Bearer $MACHINE"`, `-H "Authorization: Bearer $ADMIN"`
	const jsonType = `-H "Content-Type: application/json"`
	account := func(more string) string {
		return fmt.Sprintf(`-d '{"subject":"%s","name":"A new machine"%s}'`, clientNew, more)
	}
	return []Step{
		{
			"unregistered", "401: a valid token, kept in $MACHINE, of a machine that nobody has registered",
			`MACHINE=$(token -u ` + clientNew + `:` + s.secret + `); ` + s.curl("-i", machine, "/hello"),
		},
		{
			"register", "201: an administrator, whose token is kept in $ADMIN, registers it by its subject and puts it into a group",
			`ADMIN=$(token -u ` + clientAdmin + `:` + s.secret + `); ` +
				s.curl("-i", admin, jsonType, account(`,"status":"active","groups":["operators"]`), "/api/serviceaccounts"),
		},
		{"userinfo", "200: the machine asks who it is", s.curl("-i", machine, "/api/userinfo")},
		{"registered", "200: it is let in, and the upstream sees the group that it was put into", s.curl("-i", machine, "/hello")},
		{"switch off", "200: the administrator switches it off", s.curl("-i", "-X PUT", admin, jsonType, account(`,"status":"inactive"`), "/api/serviceaccounts/"+clientNew)},
		{"switched off", "401: the very next request is refused, though the token has not expired", s.curl("-i", machine, "/hello?again")},
	}
}

// What the demo knows of licenses: a vendor's key that is made at start, and a
// license for the gateway's own host.

func (s *Stage) vendorKey() string { return filepath.Join(s.Dir, "vendor.key") }

func (s *Stage) licenseFile() string { return filepath.Join(s.Dir, "license.json") }

// otherSite is a site whose host the license does not name.
func (s *Stage) otherSite() string {
	return "http://other.localhost" + s.Site[strings.LastIndexByte(s.Site, ':'):]
}

// makeLicense makes the vendor's key and a license for this machine.
func (s *Stage) makeLicense() error {
	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		return fmt.Errorf("making the demo's vendor key: %w", err)
	}
	if err := keyfile.Create(s.vendorKey(), key); err != nil {
		return fmt.Errorf("keeping the demo's vendor key: %w", err)
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: key})
	if err != nil {
		return err
	}
	signed, err := signer.Sign(license.Request{
		Type: license.Enterprise, AllowedHosts: []string{"127.0.0.1"}, Description: "the demo", TTL: 365 * 24 * time.Hour,
	})
	if err != nil {
		return fmt.Errorf("signing the demo's license: %w", err)
	}
	text, err := signed.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(s.licenseFile(), text, 0o600)
}

// licenseEnvironment is what Caddyfile.example reads about the license.
func (s *Stage) licenseEnvironment(vars map[string]string) map[string]string {
	vars["GATEHOUSE_LICENSE"] = s.licenseFile()
	vars["GATEHOUSE_TRUSTED_KEY"] = s.vendorKey() + ".pub"
	vars["GATEHOUSE_OTHER_SITE"] = s.otherSite()
	if pem, err := os.ReadFile(s.vendorKey()); err == nil {
		vars["GATEHOUSE_SIGNING_KEY"] = string(pem)
	}
	return vars
}

// licenseSteps show the license of this deployment, and how one is signed.
func (s *Stage) licenseSteps() []Step {
	boss := `-H "Authorization: Bearer $(token -u ` + clientAdmin + ":" + s.secret + `)"`
	host := strings.TrimPrefix(s.otherSite(), "http://")
	signed := filepath.Join(s.Dir, "signed.json")
	program, err := os.Executable()
	if err != nil {
		program = "caddy"
	}
	const asJSON = `-H "Content-Type: application/json"`
	const ask = `'{"license_type":"enterprise","allowed_hosts":["*.acme.example"],"description":"Acme Corp","expire_at":"365d"}'`
	return []Step{
		{
			"license", "the license in force, from a file: it names this host",
			s.curl("", `-H "Authorization: Bearer $TOKEN"`, "/api/orgs/license"),
		},
		{
			"other host", "403 license_host: the same gateway under a name that the license does not cover",
			s.curl("-i", `-H "Host: `+host+`"`, "/"),
		},
		{
			"sign", "a license signed over the API, by a member of the signing group",
			s.curl("", boss, asJSON, "-d "+ask, "/api/orgs/license/sign") + " | tee " + quoted(signed),
		},
		{
			"verify", "the command verifies it with the public key alone",
			quoted(program) + " gatehouse verify --trusted-key " + quoted(s.vendorKey()+".pub") + " --host gw.acme.example " + quoted(signed),
		},
		{
			"may not sign", "403: robot is in no group that may sign",
			s.curl("-i", `-H "Authorization: Bearer $TOKEN"`, asJSON, "-d "+ask, "/api/orgs/license/sign"),
		},
	}
}

// quoted is a path as a POSIX shell reads it.
func quoted(path string) string {
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// loginSteps go from the question where to log in, by the login page, back to the
// application and through the gate.
func (s *Stage) loginSteps() []Step {
	asked, how := s.askByToken(), "a bearer token, as there is no openssl here to sign with"
	if _, err := exec.LookPath("openssl"); err == nil {
		asked, how = s.askSigned(), "an HMAC over the Date header"
	}
	withToken := func(name string) string {
		return fmt.Sprintf(`-H "Authorization: Bearer $(echo "$BACK" | sed 's/.*[#&]%s=\([^&]*\).*/\1/')"`, name)
	}
	return []Step{
		{"sso url", "where the people of the customer account acme log in, asked with " + how + "; kept in $URL", asked + `; echo "$URL"`},
		{"login page", "open $URL in a browser and log in as " + guest + " with the password " + s.secret + ", or do it by curl: this is the page", `curl -si "$URL"`},
		{
			"log in", "back at the redirect address, with an ID token for the application and an access token, kept in $BACK",
			fmt.Sprintf(`BACK=$(curl -si -d username=%s -d password=%s "$URL" | tr -d '\r' | sed -n 's/^Location: //p'); echo "$BACK"`, guest, s.secret),
		},
		{"logged in", "200: the access token opens the gate, and the upstream sees a user", s.curl("-i", withToken("access_token"), "/hello")},
		{"id token", "401: the ID token is for the application, not for the gate", s.curl("-i", withToken("id_token"), "/hello")},
		{
			"revoke", "201, then 401: an administrator revokes what this person has, and the very next request is refused, though the token has not expired",
			s.curl("-i", `-H "Authorization: Bearer $(token -u `+clientAdmin+":"+s.secret+`)"`, `-H "Content-Type: application/json"`,
				fmt.Sprintf(`-d '{"subject":"%s","reason":"a lost laptop"}'`, guest), "/api/revocations") + "; " +
				s.curl("-i", withToken("access_token"), "/hello?again"),
		},
	}
}

// ssoPath asks for the login page of a customer account.
const ssoPath = "/api/v4/sso_url?product=my-product&customer_account_code=acme"

// askSigned is what clients of LicenseSpring's API send.
func (s *Stage) askSigned() string {
	return `DATE=$(LC_ALL=C date -u "+%a, %d %b %Y %H:%M:%S GMT"); ` +
		`SIGNATURE=$(printf 'licenseSpring\ndate: %s' "$DATE" | openssl dgst -sha256 -hmac ` + s.shared + ` -binary | openssl base64); ` +
		s.keepURL(`-H "Date: $DATE"`, `-H "Authorization: algorithm=\"hmac-sha256\",headers=\"date\",signature=\"$SIGNATURE\",apikey=\"`+apiKey+`\""`)
}

func (s *Stage) askByToken() string {
	return s.keepURL(`-H "Authorization: Bearer $(token -u ` + clientAdmin + ":" + s.secret + `)"`)
}

func (s *Stage) keepURL(args ...string) string {
	return `URL=$(` + s.curl("", append(args, ssoPath)...) + ` | sed 's/.*"url":"\([^"]*\)".*/\1/')`
}

// Guest is who can log in at the login page.
func (s *Stage) Guest() (name, password string) { return guest, s.secret }

// activationSteps go from a login to a license in exchange for it, and to the seat that
// it takes.
func (s *Stage) activationSteps() []Step {
	boss := `-H "Authorization: Bearer $(token -u ` + clientAdmin + ":" + s.secret + `)"`
	const asJSON = `-H "Content-Type: application/json"`
	const ask = `"{\"product\":\"my-product\",\"customer_account_code\":\"acme-licensed\",\"hardware_id\":\"laptop\",\"id_token\":\"$PROOF\"}"`
	activated := filepath.Join(s.Dir, "activated.json")
	program, err := os.Executable()
	if err != nil {
		program = "caddy"
	}
	return []Step{
		{
			"licensed login", "somebody logs in to an account whose logins bring a license; the ID token is kept in $PROOF",
			`PROOF=$(curl -si ` + fmt.Sprintf(`-d username=%s -d password=%s`, guest, s.secret) + ` "$(` +
				s.curl("", boss, "/api/v4/sso_url?product=my-product&customer_account_code=acme-licensed") +
				` | sed 's/.*"url":"\([^"]*\)".*/\1/')" | sed -n 's/^Location: .*[#&]id_token=\([^&]*\).*/\1/p'); echo "$PROOF"`,
		},
		{
			"activate", "200: a license for the hosts of the account, signed for this instance; it takes one of 50 seats",
			s.curl("-i", boss, asJSON, "-d "+ask, "/api/v4/activate_license") + " | tee " + quoted(activated),
		},
		{
			"by command", "the same by the command, for this deployment; without BROWSER=… it opens yours: log in as " + guest + " with the password " + s.secret,
			"env BROWSER=" + quoted(s.browser()) + " GATEHOUSE_VENDOR_API_KEY=" + apiKey + " GATEHOUSE_VENDOR_SHARED_KEY=" + s.shared +
				` GATEHOUSE_TOKEN="$(token -u ` + clientAdmin + ":" + s.secret + `)" ` + quoted(program) + " gatehouse license activate --address " + s.Admin +
				" --server " + s.Site + " --product my-product --account acme-licensed --out " + quoted(filepath.Join(s.Dir, "by-command.json")),
		},
		{"seats", "who has a seat, and until when without being heard of", s.curl("", boss, "/api/activations")},
	}
}
