package command

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// moment is a time in a server's answer: RFC 3339 or Unix seconds. What is
// neither, null and nothing are the zero time, which means never.
type moment struct{ time.Time }

// UnmarshalJSON reads it.
func (m *moment) UnmarshalJSON(data []byte) error {
	m.Time = time.Time{}
	if seconds, err := strconv.ParseInt(string(data), 10, 64); err == nil && seconds != 0 {
		m.Time = time.Unix(seconds, 0).UTC()
		return nil
	}
	var text string
	if json.Unmarshal(data, &text) != nil {
		return nil // shown as never
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		m.Time = t.UTC()
	}
	return nil
}

// stamp shows a time, and how far it is from now.
func (p *program) stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339) + " (" + distance(t.Sub(p.now())) + ")"
}

func (p *program) unixStamp(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return p.stamp(time.Unix(seconds, 0))
}

// date shows a time where there is little room.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// distance words how far away a time is, in its greatest unit.
func distance(d time.Duration) string {
	amount := span(d.Abs())
	switch {
	case d.Abs() < time.Second:
		return "now"
	case d < 0:
		return amount + " ago"
	}
	return "in " + amount
}

const day = 24 * time.Hour

// exactly words a duration without dropping anything of it.
func exactly(d time.Duration) string {
	if d%day == 0 {
		return span(d)
	}
	return d.String()
}

func span(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := d / unit.size; {
		case n == 1:
			return "1 " + unit.name
		case n > 1:
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
