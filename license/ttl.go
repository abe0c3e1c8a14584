package license

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseTTL reads a duration as people write it in a request to sign: as
// [time.ParseDuration] does, with whole days before it or alone, as in "8760h",
// "365d" or "1d12h". The error is an [*Error] of the member expire_at.
func ParseTTL(s string) (time.Duration, error) {
	const want = `want a duration such as "8760h" or "365d"`
	if len(s) > 64 {
		return 0, badForm("expire_at", "has %d bytes; %s", len(s), want)
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 63)
	if err != nil || days != strconv.FormatUint(n, 10) {
		return 0, badForm("expire_at", "is %s; %s", quote(s), want)
	}
	var more time.Duration
	if rest != "" || !found {
		more, err = time.ParseDuration(rest)
	}
	if err != nil || found && strings.HasPrefix(rest, "-") || found && strings.HasPrefix(rest, "+") {
		return 0, badForm("expire_at", "is %s; %s", quote(s), want)
	}
	if n > uint64((math.MaxInt64-more.Abs())/day) {
		return 0, badForm("expire_at", "is %s; want at most %d days", quote(s), math.MaxInt64/day)
	}
	return time.Duration(n)*day + more, nil
}
