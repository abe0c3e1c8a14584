package demo

import (
	"fmt"
	"os"
	"path/filepath"
)

// browser is a program that logs the guest in at the address that it is given, as a
// person would in a browser.
func (s *Stage) browser() string { return filepath.Join(s.Dir, "browser") }

// makeBrowser writes that program: a login is a form that leads back by redirects.
func (s *Stage) makeBrowser() error {
	script := fmt.Sprintf("#!/bin/sh\nexec curl -sL -o /dev/null -d username=%s -d password=%s \"$1\"\n", guest, s.secret)
	if err := os.WriteFile(s.browser(), []byte(script), 0o700); err != nil { //nolint:gosec // it is to be run
		return fmt.Errorf("writing the demo's browser: %w", err)
	}
	return nil
}

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
