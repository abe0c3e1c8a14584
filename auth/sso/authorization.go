package sso

import (
	"strings"
)

const (
	// maxAuthorizationBytes bounds an HMAC Authorization header; real ones have
	// about 150.
	maxAuthorizationBytes = 8 << 10
	maxAuthorizationParts = 16

	bearerScheme = "bearer"
	blank        = " \t"
)

// The parts of an HMAC Authorization header, in the order that a refusal names
// missing ones.
const (
	partAlgorithm = "algorithm"
	partHeaders   = "headers"
	partSignature = "signature"
	partAPIKey    = "apikey"
)

var requiredParts = []string{partAlgorithm, partHeaders, partSignature, partAPIKey}

// hasBearerScheme tells whether the field's first word is "Bearer", in any case
// (RFC 6750, section 2.1).
func hasBearerScheme(field string) bool {
	scheme := field
	if end := strings.IndexAny(field, blank); end >= 0 {
		scheme = field[:end]
	}
	return isASCII(scheme) && strings.EqualFold(scheme, bearerScheme)
}

// parseParts reads `name="value",…`, with or without blanks around the commas.
// The names come back in lower case. It is not ok if the field is too long or
// formed otherwise, or names a part twice. Unknown parts are taken: whoever
// signs for a newer server should not fail here.
func parseParts(field string) (parts map[string]string, ok bool) {
	if len(field) > maxAuthorizationBytes {
		return nil, false
	}
	parts = make(map[string]string, len(requiredParts))
	for rest, more := field, true; more; {
		var name, value string
		name, value, rest, more, ok = cutPart(rest)
		if _, twice := parts[name]; !ok || twice || len(parts) == maxAuthorizationParts {
			return nil, false
		}
		parts[name] = value
	}
	return parts, true
}

// cutPart takes the first part off, with the comma behind it; more tells whether
// there was one.
func cutPart(s string) (name, value, rest string, more, ok bool) {
	name, s, ok = strings.Cut(strings.TrimLeft(s, blank), `="`)
	if !ok || !isName(name) {
		return "", "", "", false, false
	}
	value, s, ok = strings.Cut(s, `"`)
	if !ok || !isQuoted(value) {
		return "", "", "", false, false
	}
	s = strings.TrimLeft(s, blank)
	rest, more = strings.CutPrefix(s, ",")
	return strings.ToLower(name), value, rest, more, more || s == ""
}

// missingParts names the required parts that are absent or empty.
func missingParts(parts map[string]string) []string {
	var missing []string
	for _, name := range requiredParts {
		if parts[name] == "" {
			missing = append(missing, name)
		}
	}
	return missing
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '_' && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// isQuoted tells whether s may stand between quotes. Escapes are not known here:
// nothing that clients send needs one.
func isQuoted(s string) bool {
	for i := range len(s) {
		if !isQuotable(s[i]) {
			return false
		}
	}
	return true
}

func isQuotable(c byte) bool { return c >= ' ' && c <= '~' && c != '"' && c != '\\' }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
