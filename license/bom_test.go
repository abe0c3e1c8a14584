package license

import (
	"testing"
	"unicode/utf16"
)

// utf16LE is a text as PowerShell's `>` writes it.
func utf16LE(text []byte) []byte {
	out := []byte("\xff\xfe")
	for _, unit := range utf16.Encode([]rune(string(text))) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

func TestByteOrderMarks(t *testing.T) {
	data := readFile(t, "v2-ed25519.json")
	key, err := EncodePublicKey(testKey(t, "ed25519").Public())
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, at(expires-1), Config{})
	if s := v.Open(append([]byte("\ufeff"), data...)); s.Err() != nil {
		t.Errorf("a license behind a mark: %v", s.Err())
	}
	if _, err := ParsePublicKeys(append([]byte("\ufeff"), key...)); err != nil {
		t.Errorf("a key behind a mark: %v", err)
	}
	for _, text := range [][]byte{utf16LE(data), utf16LE(data)[2:]} {
		wantError(t, v.Open(text).Err(), ReasonForm, "", "UTF-16")
	}
	if _, err := ParsePublicKeys(utf16LE(key)); err == nil || err.Error() != "reading public keys: the text is in UTF-16; save it in UTF-8" {
		t.Errorf("a key in UTF-16: %v", err)
	}
}
