// Package bom deals with the byte order mark that editors and shells of Windows
// put in front of a text (Unicode 16.0, section 23.8).
package bom

import (
	"bytes"
	"errors"
)

// ErrUTF16 names a text that is encoded in UTF-16, as PowerShell's `>` writes it.
var ErrUTF16 = errors.New("the text is in UTF-16; save it in UTF-8")

// Skip gives a text without a mark of UTF-8 in front. A text in UTF-16, with a
// mark or not, is [ErrUTF16].
func Skip(text []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return nil, ErrUTF16
	case len(text) >= 2 && (text[0] == 0) != (text[1] == 0):
		return nil, ErrUTF16
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil
}
