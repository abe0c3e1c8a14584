package auth

import (
	"strings"
)

// MaxTokenBytes is the longest token that is looked at.
const MaxTokenBytes = 16 << 10

// The schemes that tokens come with, in lower case.
const (
	bearerScheme = "bearer"
	dpopScheme   = "dpop"
)

// ParseAuthorization takes the bearer token out of a request's Authorization
// header fields (RFC 6750, section 2.1): the scheme in any case, a space or more,
// one token. It answers [ErrNoToken] for no field and for another scheme,
// [ErrSeveralHeaders], [ErrMalformedHeader] and [ErrTooLong] for what breaks
// the form. The token is a part of the field: nothing is copied. Whether it is a
// b64token is left to [Verifier.Verify]: a cached token was one.
func ParseAuthorization(fields []string) (string, *Refusal) {
	token, dpop, refusal := ParseCredentials(fields)
	if dpop {
		return "", ErrNoToken
	}
	return token, refusal
}

// ParseCredentials is [ParseAuthorization] for the schemes Bearer and DPoP (RFC 9449,
// section 7.1), and tells which it was.
func ParseCredentials(fields []string) (token string, dpop bool, refusal *Refusal) {
	switch {
	case len(fields) == 0:
		return "", false, ErrNoToken
	case len(fields) > 1:
		return "", false, ErrSeveralHeaders
	}
	field, scheme := fields[0], bearerScheme
	if dpop = hasScheme(field, dpopScheme); dpop {
		scheme = dpopScheme
	} else if !hasScheme(field, bearerScheme) {
		return "", false, ErrNoToken
	}
	if len(field) == len(scheme) || field[len(scheme)] != ' ' {
		return "", dpop, ErrMalformedHeader
	}
	token = strings.TrimLeft(field[len(scheme):], " ")
	switch {
	case token == "":
		return "", dpop, ErrMalformedHeader
	case len(token) > MaxTokenBytes:
		return "", dpop, ErrTooLong
	}
	return token, dpop, nil
}

// CheckToken holds a token, wherever it was found, against the length limit and
// the b64token syntax: [ErrTooLong], [ErrMalformedHeader] or nil.
func CheckToken(token string) *Refusal {
	if len(token) > MaxTokenBytes {
		return ErrTooLong
	}
	if !isB64Token(token) {
		return ErrMalformedHeader
	}
	return nil
}

// IsOtherScheme tells whether a field of the Authorization header is of another
// scheme than those that tokens come with, such as Basic (RFC 9110, section 11.4).
func IsOtherScheme(field string) bool {
	return field != "" && isSchemeByte(field[0]) && !hasScheme(field, bearerScheme) && !hasScheme(field, dpopScheme)
}

// hasScheme tells whether the field's first word is the scheme, which has letters
// only and is given in lower case.
func hasScheme(field, scheme string) bool {
	if len(field) < len(scheme) {
		return false
	}
	for i := range len(scheme) {
		if field[i]|0x20 != scheme[i] {
			return false
		}
	}
	return len(field) == len(scheme) || !isSchemeByte(field[len(scheme)])
}

// isSchemeByte tells whether c may stand in an authentication scheme's name: a
// token byte of RFC 9110, section 5.6.2.
func isSchemeByte(c byte) bool {
	if isAlphanumeric(c) {
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

// isB64Token tells whether s is 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+"
// / "/" ) *"=".
func isB64Token(s string) bool {
	end := len(s)
	for end > 0 && s[end-1] == '=' {
		end--
	}
	if end == 0 {
		return false
	}
	for i := range end {
		if !b64TokenBytes[s[i]] {
			return false
		}
	}
	return true
}

// b64TokenBytes marks the bytes of a b64token before its padding.
var b64TokenBytes = func() (set [256]bool) {
	for c := range 256 {
		set[c] = isAlphanumeric(byte(c))
	}
	for _, c := range []byte("-._~+/") {
		set[c] = true
	}
	return set
}()

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
