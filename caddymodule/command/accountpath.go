package command

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

const subjectArgument = "SUBJECT, of an account or its id"

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
