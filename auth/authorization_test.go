package auth

import (
	"strings"
	"testing"
)

func TestParseAuthorization(t *testing.T) {
	longest := strings.Repeat("a", MaxTokenBytes)
	tests := []struct {
		name   string
		fields []string
		token  string
		want   *Refusal
	}{
		{"no field", nil, "", ErrNoToken},
		{"empty field", []string{""}, "", ErrNoToken},
		{"another scheme", []string{"Basic dXNlcjpwYXNz"}, "", ErrNoToken},
		{"a longer scheme", []string{"Bearerx abc"}, "", ErrNoToken},
		{"a longer scheme with a sign", []string{"Bearer-2 abc"}, "", ErrNoToken},
		{"a shorter scheme", []string{"Beare abc"}, "", ErrNoToken},
		{"another scheme that holds the word", []string{"Digest Bearer abc"}, "", ErrNoToken},
		{"usual", []string{"Bearer abc.def.ghi"}, "abc.def.ghi", nil},
		{"lower case", []string{"bearer abc"}, "abc", nil},
		{"upper case", []string{"BEARER abc"}, "abc", nil},
		{"mixed case", []string{"bEaReR abc"}, "abc", nil},
		{"every allowed byte", []string{"Bearer azAZ09-._~+/=="}, "azAZ09-._~+/==", nil},
		{"the longest token", []string{"Bearer " + longest}, longest, nil},
		{"too long", []string{"Bearer " + longest + "a"}, "", ErrTooLong},
		{"too long and malformed", []string{"Bearer " + longest + "\x00"}, "", ErrTooLong},
		{"two fields", []string{"Bearer abc", "Bearer abc"}, "", ErrSeveralHeaders},
		{"two fields, one of another scheme", []string{"Basic abc", "Bearer abc"}, "", ErrSeveralHeaders},
		{"two empty fields", []string{"", ""}, "", ErrSeveralHeaders},
		{"no token", []string{"Bearer"}, "", ErrMalformedHeader},
		{"a space and no token", []string{"Bearer "}, "", ErrMalformedHeader},
		{"two spaces", []string{"Bearer  abc"}, "", ErrMalformedHeader},
		{"a tab", []string{"Bearer\tabc"}, "", ErrMalformedHeader},
		{"a comma", []string{"Bearer,abc"}, "", ErrMalformedHeader},
		{"an equals sign", []string{"Bearer=abc"}, "", ErrMalformedHeader},
		{"two tokens", []string{"Bearer abc def"}, "", ErrMalformedHeader},
		{"two credentials in one field", []string{"Bearer abc, Basic def"}, "", ErrMalformedHeader},
		{"a space behind", []string{"Bearer abc "}, "", ErrMalformedHeader},
		{"a line break", []string{"Bearer abc\n"}, "", ErrMalformedHeader},
		{"a quote", []string{`Bearer "abc"`}, "", ErrMalformedHeader},
		{"padding only", []string{"Bearer =="}, "", ErrMalformedHeader},
		{"padding inside", []string{"Bearer a=b"}, "", ErrMalformedHeader},
		{"a null byte", []string{"Bearer a\x00b"}, "", ErrMalformedHeader},
		{"beyond ASCII", []string{"Bearer é"}, "", ErrMalformedHeader},
		{"a byte that lowers to a letter of the scheme", []string{"\x02earer abc"}, "", ErrNoToken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, refusal := ParseAuthorization(tt.fields)
			if token != tt.token || refusal != tt.want {
				t.Errorf("got %q, %v; expected %q, %v", token, refusal, tt.token, tt.want)
			}
		})
	}
}

func TestCheckToken(t *testing.T) {
	for token, want := range map[string]*Refusal{
		"":                                   ErrMalformedHeader,
		"abc":                                nil,
		"a b":                                ErrMalformedHeader,
		strings.Repeat("a", MaxTokenBytes):   nil,
		strings.Repeat("a", MaxTokenBytes+1): ErrTooLong,
	} {
		if got := CheckToken(token); got != want {
			t.Errorf("a token of %d bytes: got %v, expected %v", len(token), got, want)
		}
	}
}
