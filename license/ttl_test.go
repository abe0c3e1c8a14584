package license

import (
	"strings"
	"testing"
	"time"
)

func TestParseTTL(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"8760h": 8760 * time.Hour, "365d": 365 * day, "1d12h": 36 * time.Hour, "0d1s": time.Second, "1h30m": 90 * time.Minute,
		"-1h": -time.Hour, "0": 0, "0d": 0, "106751d": 106751 * day, "1.5h": 90 * time.Minute,
	} {
		if got, err := ParseTTL(s); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "d", "1", "1y", "1.5d", "-1d", "+1d", " 1d", "1d ", "1d1d", "01d", "1d-1h", "1d+1h", "1dd", "106752d", "106751d24h", "99999999999999999999d", "1e3h", "9999999999h",
		strings.Repeat("9", 65),
	} {
		got, err := ParseTTL(s)
		if err == nil {
			t.Errorf("%q: %s, want an error", s, got)
			continue
		}
		wantError(t, err, ReasonForm, "expire_at", "want")
	}
}
