package host

import (
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Signable says why a pattern should not be put into a new license: "*." and a
// public suffix names hosts of everybody. A suffix counts if it is one of the
// ICANN section, or a private one of several labels (github.io); a name that is
// not on the list, such as internal, does not.
//
// Only a signer asks this. The list of public suffixes moves with each build,
// and a signed license must not change its meaning.
func (p Pattern) Signable() error {
	if p.kind != subdomains || !isPublicSuffix(p.name) {
		return nil
	}
	return fmt.Errorf("host pattern %q: %s is a public suffix, under which anybody may hold a name; want a domain of the customer's own", p, p.name)
}

func isPublicSuffix(name string) bool {
	// A rule such as *.ck makes every child of ck a public suffix and does
	// not name ck itself. No list names this child, so only a rule with a
	// wildcard can fit it.
	child := "no-such-label." + name
	return isListed(name) || isListed(child)
}

func isListed(name string) bool {
	suffix, icann := publicsuffix.PublicSuffix(name)
	return suffix == name && (icann || strings.Contains(name, "."))
}
