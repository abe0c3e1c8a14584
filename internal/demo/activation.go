package demo

import (
	"fmt"
	"path/filepath"
)

// activationSteps go from a login to a license in exchange for it, and to the seat that
// it takes.
func (s *Stage) activationSteps() []Step {
	boss := `-H "Authorization: Bearer $(token -u ` + clientAdmin + ":" + s.secret + `)"`
	const asJSON = `-H "Content-Type: application/json"`
	const ask = `"{\"product\":\"my-product\",\"customer_account_code\":\"acme-licensed\",\"hardware_id\":\"laptop\",\"id_token\":\"$PROOF\"}"`
	activated := filepath.Join(s.Dir, "activated.json")
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
		{"seats", "who has a seat, and until when without being heard of", s.curl("", boss, "/api/activations")},
	}
}
