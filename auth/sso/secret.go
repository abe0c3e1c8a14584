package sso

import (
	"fmt"
	"io"
)

// hidden is all that a secret shows of itself.
const hidden = "[secret]"

// Secret is a shared key that no formatting, logging or encoding shows: it is
// held by a closure, which reflection cannot look into, so this is true of every
// struct that holds one as well. The zero value is empty.
type Secret struct {
	reveal func() string
}

// NewSecret wraps a shared key.
func NewSecret(text string) Secret {
	return Secret{reveal: func() string { return text }}
}

// Format writes a placeholder, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String is a placeholder.
func (s Secret) String() string { return hidden }

// MarshalText is a placeholder, so that no encoder shows more.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// text is the shared key itself.
func (s Secret) text() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}
