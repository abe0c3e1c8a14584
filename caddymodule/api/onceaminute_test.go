package api

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestOnceAMinute(t *testing.T) {
	var next atomic.Int64
	at := time.Unix(1_000_000, 0)
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {time.Minute - 1, false}, {time.Minute, true}, {time.Minute + time.Second, false}, {3 * time.Minute, true}} {
		if got := onceAMinute(&next, at.Add(step.after)); got != step.want {
			t.Errorf("after %s: %v, want %v", step.after, got, step.want)
		}
	}
}
