package demo

import (
	"fmt"
	"os/exec"
)

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
