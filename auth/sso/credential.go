package sso

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// maxAPIKeyBytes bounds a configured API key; real ones have 36.
const maxAPIKeyBytes = 256

// Credential lets a client ask by HMAC.
type Credential struct {
	// APIKey names the credential in requests; it is no secret. Up to 256
	// visible ASCII characters without quotes and backslashes. Required.
	APIKey string

	// SharedKey is what signatures are keyed by, byte for byte. Required.
	SharedKey Secret

	// Disabled credentials are answered `revoked_api_key`.
	Disabled bool

	// Products are those that the key may ask for, of Config.Products. Empty:
	// all.
	Products []string

	// Accounts are the codes of those that the key may ask for, of
	// Config.Accounts. Empty: all.
	Accounts []string

	// RateLimit is how many signed requests a second are answered, and how many
	// at once. Zero: Config.RateLimit; below zero: no limit.
	RateLimit int
}

// credential is a Credential made ready. The zero value stands for a bearer of a
// token, who may ask for all.
type credential struct {
	key      Secret
	disabled bool
	products []string      // see allows
	accounts []string      // see allows
	limiter  *rate.Limiter // nil: no limit
}

// compile checks the credential and makes it ready.
func (c Credential) compile(cfg Config) (*credential, error) {
	if err := checkAPIKey(c.APIKey); err != nil {
		return nil, err
	}
	if c.SharedKey.text() == "" {
		return nil, fmt.Errorf("credential %q: shared key is empty: give the key that clients sign with", c.APIKey)
	}
	for _, p := range c.Products {
		if !slices.Contains(cfg.Products, p) {
			return nil, fmt.Errorf("credential %q: product %q is not one of the products %q", c.APIKey, p, cfg.Products)
		}
	}
	for _, code := range c.Accounts {
		if !slices.ContainsFunc(cfg.Accounts, func(a Account) bool { return a.Code == code }) {
			return nil, fmt.Errorf("credential %q: account %q is not declared: declare it, or name one that is", c.APIKey, code)
		}
	}
	limit := c.RateLimit
	if limit == 0 {
		limit = cfg.RateLimit
	}
	ready := &credential{
		key:      c.SharedKey,
		disabled: c.Disabled,
		products: slices.Clone(c.Products),
		accounts: slices.Clone(c.Accounts),
	}
	if limit > 0 {
		ready.limiter = rate.NewLimiter(rate.Limit(limit), limit)
	}
	return ready, nil
}

// checkAPIKey does not quote a key of the wrong form: whoever mixes up the two
// keys would find the shared one in an error.
func checkAPIKey(key string) error {
	switch {
	case key == "":
		return errors.New("credential: API key is empty: give the key that names the credential")
	case len(key) > maxAPIKeyBytes:
		return fmt.Errorf("credential: API key has %d bytes: at most %d are possible", len(key), maxAPIKeyBytes)
	case !isVisible(key):
		return errors.New(`credential: API key holds a character that cannot be sent: only visible ASCII but " and \ can`)
	}
	return nil
}

// allows tells whether a list of products or accounts has a name; an empty one has
// all.
func allows(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }

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

const (
	hmacAlgorithm = "hmac-sha256"
	signedHeaders = "date"

	// signedPrefix stands before the Date header in the signed text.
	signedPrefix = "licenseSpring\ndate: "
)

// Sign is the signature that a client sends: base64 of an HMAC-SHA256 over
// "licenseSpring\ndate: " and the Date header exactly as sent, keyed by the
// shared key.
func Sign(key Secret, date string) string {
	mac := hmac.New(sha256.New, []byte(key.text()))
	mac.Write([]byte(signedPrefix))
	mac.Write([]byte(date))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Authorize sets the headers Date and Authorization of a client's request.
func Authorize(h http.Header, apiKey string, key Secret, now time.Time) {
	date := now.UTC().Format(http.TimeFormat)
	h.Set("Date", date)
	h.Set("Authorization", fmt.Sprintf(`algorithm="%s",headers="%s",signature="%s",apikey="%s"`, hmacAlgorithm, signedHeaders, Sign(key, date), apiKey))
}

const (
	// dateExample is the Date of the refusals' messages.
	dateExample = "Tue, 07 Jun 2011 20:51:35 GMT"

	// dateForm takes a day of one digit and of two.
	dateForm = "Mon, 2 Jan 2006 15:04:05 GMT"

	dateFormTail      = "02 Jan 2006 15:04:05 GMT"
	shortDateFormTail = "2 Jan 2006 15:04:05 GMT"
	weekdayBytes      = len("Tue, ")
)

// parseDate reads an IMF-fixdate (RFC 9110, section 5.6.7), with a day of one
// digit as well. The name of the weekday may be wrong, as it is in examples
// that clients are written after.
func parseDate(s string) (time.Time, bool) {
	if len(s) > len(dateForm)+1 {
		return time.Time{}, false
	}
	t, err := time.Parse(dateForm, s)
	if err != nil {
		return time.Time{}, false
	}
	// time.Parse also takes fractions of a second, more blanks, other cases.
	tail := s[weekdayBytes:]
	if tail != t.Format(dateFormTail) && tail != t.Format(shortDateFormTail) {
		return time.Time{}, false
	}
	return t, true
}

// isRecent tells whether the date is at most skew off either way.
func isRecent(date string, now time.Time, skew time.Duration) bool {
	t, ok := parseDate(date)
	return ok && now.Sub(t).Abs() <= skew
}
