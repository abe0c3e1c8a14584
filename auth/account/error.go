package account

import (
	"errors"
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// Errors that callers tell apart. The text of the first two is that of the API.
var (
	// ErrExists: there is an account with that issuer and subject already.
	ErrExists = errors.New("resource already exists")
	// ErrNotFound: there is no account with that subject or id.
	ErrNotFound = errors.New("resource not found")
	// ErrAmbiguous: several issuers have an account of that subject; the error
	// lists them.
	ErrAmbiguous = errors.New("several issuers have an account of that subject")
	// ErrChanged: the account is not any more what the change was made for.
	ErrChanged = errors.New("the account was changed meanwhile; read it again")
	// ErrDeclared: the account is declared in the configuration, and can only be
	// changed there.
	ErrDeclared = errors.New("the account is declared in the configuration; change it there")
	// ErrBusy: storage could not be written in time, or not at all. What was
	// asked for was not acknowledged; in rare cases it happens all the same. It
	// wraps the storage's own error, which is for logs and not for callers.
	ErrBusy = errors.New("storage cannot be written now")
	// ErrDamaged: the change would drop what a damaged record holds. The error
	// names the record.
	ErrDamaged = errors.New("a record in storage is damaged")
	// ErrUnread: the accounts were not read from storage yet.
	ErrUnread = errors.New("the service accounts have not been read from storage yet")
	// ErrEmptied: storage answers, and holds nothing of what it held.
	ErrEmptied = errors.New("storage holds no service accounts any more: it was emptied, or is another one; caddy gatehouse service-account repair shows what is known and writes it again")
	// ErrDiverged: storage holds accounts that were begun without those that this
	// node knows. None of the two is given up until an operator decides.
	ErrDiverged = errors.New("storage holds other service accounts than this node, begun without them; caddy gatehouse service-account repair shows both and keeps the one that is named")
	// ErrClosed: the registry was closed.
	ErrClosed = errors.New("the registry of service accounts is closed")
)

// Class says what is wrong with an input.
type Class uint8

// The classes.
const (
	// Malformed: not a JSON object, or with unknown or repeated members.
	Malformed Class = iota + 1
	// Invalid: a member is missing, of the wrong type or out of range.
	Invalid
)

// InputError is the error of [Decode], and of a change with a [Draft] that does
// not hold.
type InputError struct {
	Class Class
	// Member is the name of the member at fault; empty if it is the whole.
	Member string
	text   string
}

// Error says what was found and what would be right. It quotes no more than a
// few characters of the input.
func (e *InputError) Error() string {
	if e.Member == "" {
		return e.text
	}
	return e.Member + " " + e.text
}

func malformed(format string, args ...any) error {
	return &InputError{Class: Malformed, text: fmt.Sprintf(format, args...)}
}

func invalid(member, format string, args ...any) error {
	return &InputError{Class: Invalid, Member: member, text: fmt.Sprintf(format, args...)}
}

// quote shows the beginning of s in an error.
func quote(s string) string { return strictjson.Quote(s, 48) }
