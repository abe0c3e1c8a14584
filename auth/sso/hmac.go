package sso

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"time"
)

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

// signatureFits compares in constant time. The one encoding of the right
// signature is compared, so that no other spelling of it passes.
func signatureFits(key Secret, date, signature string) bool {
	return subtle.ConstantTimeCompare([]byte(Sign(key, date)), []byte(signature)) == 1
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
