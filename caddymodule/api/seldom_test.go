package api

import (
	"testing"
	"time"
)

func TestSeldom(t *testing.T) {
	var s seldom
	at := time.Unix(1_000_000, 0)
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {time.Minute - 1, false}, {time.Minute, true}, {time.Minute + time.Second, false}, {3 * time.Minute, true}} {
		if got := s.due(at.Add(step.after)); got != step.want {
			t.Errorf("after %s: %v, want %v", step.after, got, step.want)
		}
	}
}
