package strictjson

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// InputError says what is wrong with what somebody sent, for the sender.
type InputError struct {
	// Malformed: it is not a JSON object, or has unknown or repeated members. Else a
	// member is missing, of the wrong type or out of range.
	Malformed bool
	// Member is the name of the member at fault; empty if it is the whole.
	Member string
	// Text says what was found and what would be right. It quotes no more than a few
	// characters of the input.
	Text string
}

// Error is the member's name, if there is one, and the text.
func (e *InputError) Error() string {
	if e.Member == "" {
		return e.Text
	}
	return e.Member + " " + e.Text
}

// Invalid makes an [*InputError] about a member.
func Invalid(member, format string, args ...any) error {
	return &InputError{Member: member, Text: fmt.Sprintf(format, args...)}
}

// CheckText checks that a member is UTF-8 without control characters, and how many
// bytes it has. The error is an [*InputError].
func CheckText(member, s string, least, most int) error {
	switch {
	case s == "" && least > 0:
		return Invalid(member, "is missing or empty; want %d to %d bytes", least, most)
	case len(s) > most:
		return Invalid(member, "has %d bytes; want at most %d", len(s), most)
	case !utf8.ValidString(s):
		return Invalid(member, "is %s, which is not valid UTF-8", Quote(s, 48))
	case strings.ContainsFunc(s, unicode.IsControl):
		return Invalid(member, "is %s, with a control character; want none", Quote(s, 48))
	}
	return nil
}
