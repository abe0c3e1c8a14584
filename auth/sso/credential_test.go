package sso

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPublishedVector is the one of the API's description.
func TestPublishedVector(t *testing.T) {
	const want = "UDysfR6MndUZReo07Y9r+vErn8vSxrnQ5ulit18iJ/Q="
	if got := Sign(NewSecret("kw4qSnpSwXzgiv5yxYpZZmFEd9QAeiKTQ6OuyMja"), "Tue, 07 Jun 2011 20:51:35 GMT"); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	r := signed(askAcme)
	r.Header.Set("Date", "Tue, 07 Jun 2011 20:51:35 GMT")
	r.Header.Set("Authorization", authorization(testKey, want))
	wantURL(t, service(t), r)
}

// TestOtherSignatures are near the right one, and refused.
func TestOtherSignatures(t *testing.T) {
	s := service(t)
	date := testTime.Format(http.TimeFormat)
	right := Sign(NewSecret(testShared), date)
	for name, signature := range map[string]string{
		"of another date":  Sign(NewSecret(testShared), testTime.Add(time.Second).Format(http.TimeFormat)),
		"by another key":   Sign(NewSecret(testShared+"x"), date),
		"by no key":        Sign(Secret{}, date),
		"without padding":  strings.TrimRight(right, "="),
		"more padding":     right + "=",
		"other last bits":  strings.Replace(right, "Q=", "R=", 1), // decodes to the same
		"URL alphabet":     strings.NewReplacer("+", "-", "/", "_").Replace(right),
		"with a blank":     " " + right,
		"not base64":       "!!!!",
		"one byte":         "A",
		"lower case":       strings.ToLower(right),
		"very long":        strings.Repeat("A", 4000),
		"percent-encoded":  strings.ReplaceAll(right, "=", "%3D"),
		"the date's bytes": date,
	} {
		if signature == right {
			t.Fatalf("%s: it is the right one", name)
		}
		r := signed(askAcme)
		r.Header.Set("Authorization", authorization(testKey, signature))
		if answer := wantCode(t, s, r, CodeSignatureMismatch); answer.Status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, answer.Status)
		}
	}
}

func TestParseDate(t *testing.T) {
	for _, s := range []string{
		"Tue, 07 Jun 2011 20:51:35 GMT",
		"Tue, 7 Jun 2011 20:51:35 GMT",
		"Sat, 07 Jun 2011 20:51:35 GMT", // another weekday than it was
	} {
		if got, ok := parseDate(s); !ok || !got.Equal(testTime) {
			t.Errorf("%q: %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "now", "1307479895", "2011-06-07T20:51:35Z",
		"Tuesday, 07-Jun-11 20:51:35 GMT", "Tue Jun  7 20:51:35 2011",
		"Tue, 07 Jun 2011 20:51:35 UTC", "Tue, 07 Jun 2011 20:51:35 +0000", "Tue, 07 Jun 2011 20:51:35",
		"Tue, 07 Jun 2011 20:51:35.5 GMT", "Tue, 07 Jun 2011 20:51:35,5 GMT",
		"tue, 07 jun 2011 20:51:35 gmt", "Tue, 07 JUN 2011 20:51:35 GMT",
		"Tue,  7 Jun 2011 20:51:35 GMT", "Tue,07 Jun 2011 20:51:35 GMT", "Tue, 007 Jun 2011 20:51:35 GMT",
		"Tue, 31 Jun 2011 20:51:35 GMT", "Tue, 00 Jun 2011 20:51:35 GMT", "Tue, 07 Jun 2011 24:00:00 GMT",
		"Tue, 07 Jun 2011 20:51:60 GMT", "Xyz, 07 Jun 2011 20:51:35 GMT", "Tue, 07 Jun 2011 20:51:35 GMT ",
		" Tue, 07 Jun 2011 20:51:35 GMT", "Tue, 07 Jun 2011 20:51:35 GMT\x00", "Tüe, 07 Jun 2011 20:51:35 GMT",
		strings.Repeat("Tue, ", 1000),
	} {
		if got, ok := parseDate(s); ok {
			t.Errorf("%q was read as %v", s, got)
		}
	}
}

func TestSkew(t *testing.T) {
	for _, c := range []struct {
		max  time.Duration // zero: the default
		off  time.Duration
		good bool
	}{
		{0, 0, true},
		{0, 15 * time.Minute, true},
		{0, -15 * time.Minute, true},
		{0, 15*time.Minute + time.Second, false},
		{0, -15*time.Minute - time.Second, false},
		{0, 24 * time.Hour, false},
		{0, -100 * 365 * 24 * time.Hour, false},
		{time.Minute, time.Minute, true},
		{time.Minute, time.Minute + time.Second, false},
		{24 * time.Hour, 24 * time.Hour, true},
	} {
		t.Run(fmt.Sprintf("%s of %s", c.off, c.max), func(t *testing.T) {
			s := service(t, func(cfg *Config) { cfg.MaxSkew = c.max })
			date := testTime.Add(c.off).Format(http.TimeFormat)
			r := signed(askAcme)
			r.Header.Set("Date", date)
			r.Header.Set("Authorization", authorization(testKey, Sign(NewSecret(testShared), date)))
			if c.good {
				wantURL(t, s, r)
				return
			}
			wantCode(t, s, r, CodeDateDiff)
		})
	}
}

// TestDateAsSent: a day of one digit is signed as it is sent.
func TestDateAsSent(t *testing.T) {
	const date = "Tue, 7 Jun 2011 20:51:35 GMT"
	s := service(t)
	r := signed(askAcme)
	r.Header.Set("Date", date)
	wantCode(t, s, r, CodeSignatureMismatch) // signed with two digits
	r.Header.Set("Authorization", authorization(testKey, Sign(NewSecret(testShared), date)))
	wantURL(t, s, r)
}

// TestYearsApart: no difference of times is too great to be refused.
func TestYearsApart(t *testing.T) {
	for _, date := range []string{"Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		if isRecent(date, testTime, maxMaxSkew) {
			t.Errorf("%s is taken for recent", date)
		}
	}
}
