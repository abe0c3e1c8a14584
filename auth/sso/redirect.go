package sso

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
)

// redirect is one address of an account's list.
type redirect struct {
	exact string

	// before and after surround the port of an http address on loopback, where
	// any port goes (RFC 8252, section 7.3; RFC 9700, section 4.1.3, for
	// `localhost`). before is empty for all other addresses.
	before, after string
}

// newRedirect checks an address of the list. Its errors go on from the address.
func newRedirect(address string) (redirect, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || !isPlainURL(address):
		return redirect{}, errors.New("is not a URL of printable ASCII: percent-encode the rest")
	case strings.Contains(address, "#"):
		return redirect{}, errors.New("has a fragment: it must not")
	case u.User != nil:
		return redirect{}, errors.New("holds user information: it must not")
	case u.Scheme == "https" && u.Hostname() != "":
		return redirect{exact: address}, nil
	case u.Scheme == "http" && loopback.Host(u.Hostname()):
		host := strings.TrimSuffix(u.Host, ":"+u.Port())
		return redirect{exact: address, before: "http://" + host, after: address[len("http://")+len(u.Host):]}, nil
	case u.Scheme == "http":
		return redirect{}, errors.New("is http to another machine: use https, or http to a loopback address")
	case strings.Contains(u.Scheme, "."):
		return redirect{exact: address}, nil // a private-use scheme: RFC 8252, section 7.1
	}
	return redirect{}, errors.New("must be https, http to a loopback address, or an application's own scheme like com.example.app:/callback")
}

// fits compares byte for byte, but for the port of a loopback address. The
// wanted address is never parsed: two parsers may disagree, bytes do not.
func (r redirect) fits(wanted string) bool {
	if wanted == r.exact {
		return true
	}
	if r.before == "" {
		return false
	}
	port, ok := strings.CutPrefix(wanted, r.before)
	if !ok {
		return false
	}
	port, ok = strings.CutSuffix(port, r.after)
	return ok && (port == "" || port[0] == ':' && isPort(port[1:]))
}

// isPort tells whether s is a port that can be listened on, in its one spelling.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

// isPlainURL tells whether s has only bytes that may stand in a URL (RFC 3986,
// section 2), escapes included.
func isPlainURL(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte("\"<>\\^`{|}", s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

// redirectTo is where a login leads back to: the wanted address if it is on the
// list, the list's first if none is wanted.
func (a *account) redirectTo(wanted string) (address string, ok bool) {
	if wanted == "" {
		return a.redirects[0].exact, true
	}
	return wanted, slices.ContainsFunc(a.redirects, func(r redirect) bool { return r.fits(wanted) })
}
