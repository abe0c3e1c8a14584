package command

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// tokenVariable is the environment variable that holds a bearer token.
const tokenVariable = "GATEHOUSE_TOKEN"

// credential is a bearer token and where it came from. Printed in whatever way
// it shows only the latter.
type credential struct {
	text   string
	source string
}

// Format keeps the token out of whatever a credential is printed to.
func (c credential) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "token of "+c.source) }

// bearerToken is the b64token of RFC 6750, section 2.1.
var bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// maxToken is the longest token that the server takes, in bytes.
const maxToken = 16 << 10

// credential reads the token of a file or else of the environment. There may be
// none; where the admin endpoint is trusted, none is needed.
func (p *program) credential(cmd *cobra.Command, file string) (credential, error) {
	c := credential{text: p.getenv(tokenVariable), source: "the environment variable " + tokenVariable}
	if cmd.Flags().Changed("token-file") {
		text, err := readSecretFile(cmd, file)
		if err != nil {
			return credential{}, fmt.Errorf("reading the token: %w", err)
		}
		c = credential{text: text, source: file}
		if strings.TrimSpace(text) == "" {
			return credential{}, errors.New(file + " holds no token; want a bearer token and nothing else")
		}
	}
	c.text = strings.TrimSpace(c.text)
	if c.text == "" {
		return credential{}, nil
	}
	if len(c.text) > maxToken || !bearerToken.MatchString(c.text) {
		return credential{}, fmt.Errorf("%s holds no bearer token; want one (RFC 6750, section 2.1) of at most %d bytes and nothing else", c.source, maxToken)
	}
	return c, nil
}
