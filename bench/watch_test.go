package main

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestMostWithin(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		name  string
		after []float64 // seconds
		want  int
	}{
		{"none", nil, 0},
		{"one", []float64{1}, 1},
		{"far apart", []float64{0, 5, 10}, 1},
		{"far apart but for the watch's error", []float64{0, 4.99, 10}, 1},
		{"near", []float64{0, 4.9}, 2},
		{"three of four", []float64{0, 6, 7, 8}, 3},
		{"at once", []float64{2, 2, 2}, 3},
		{"the first are the most", []float64{0, 1, 2, 20, 21}, 3},
	} {
		var times []time.Time
		for _, seconds := range c.after {
			times = append(times, start.Add(time.Duration(seconds*float64(time.Second))))
		}
		if got := mostWithin(times, 5*time.Second); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestWatchSeesWhatItGrewBy(t *testing.T) {
	var count atomic.Int64
	count.Store(7) // before it is watched
	w := watch(func() int { return int(count.Load()) })
	count.Add(1)
	count.Add(2)
	if times := w.stop(); len(times) != 3 {
		t.Errorf("got %d times, want 3", len(times))
	}
}
