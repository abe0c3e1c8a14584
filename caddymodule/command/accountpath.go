package command

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/pflag"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

const subjectArgument = "SUBJECT, of an account or its id"

// accountRef names one account of the server.
type accountRef struct {
	key    string // its subject or id
	issuer string // the name of its issuer; empty: the only one with that subject
}

// flags adds --issuer, for commands about one account that exists.
func (r *accountRef) flags(f *pflag.FlagSet) {
	f.StringVar(&r.issuer, "issuer", "", "Configured name of its issuer (needed where several have that subject)")
}

// ask is a request about the account.
func (r *accountRef) ask(method string) (ask, error) {
	path, err := accountPath(r.key)
	a := ask{method: method, path: path}
	if r.issuer != "" {
		a.query = url.Values{"issuer": {r.issuer}}
	}
	return a, err
}

// accountPath is the path of one account. A subject may hold slashes, which
// must not be taken for the path's own.
func accountPath(key string) (string, error) {
	switch {
	case key == "." || key == "..":
		return "", fmt.Errorf("the subject is %q, which no path can name; want another", key)
	case len(key) > account.MaxText:
		return "", errors.New("the subject has more than 255 bytes; want at most that")
	}
	return accountsPath + "/" + url.PathEscape(key), nil
}
