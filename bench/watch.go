package main

import (
	"sync"
	"time"
)

// keyInterval is the time within which no more than one fetch of keys may be
// caused by tokens.
const keyInterval = 5 * time.Second

// watchEvery is how exactly a watch knows when something happened.
const watchEvery = 5 * time.Millisecond

// counterWatch notes when a counter grows.
type counterWatch struct {
	end   chan struct{}
	done  sync.WaitGroup
	times []time.Time // one for each that it grew by
}

// watch begins to watch a counter.
func watch(count func() int) *counterWatch {
	w := &counterWatch{end: make(chan struct{})}
	last := count()
	note := func() {
		for now := count(); last < now; last++ {
			w.times = append(w.times, time.Now())
		}
	}
	w.done.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-w.end:
				note()
				return
			case <-tick.C:
				note()
			}
		}
	})
	return w
}

// stop gives the times.
func (w *counterWatch) stop() []time.Time {
	close(w.end)
	w.done.Wait()
	return w.times
}

// mostWithin is how many of the times, which are in order, lie within the same
// while at most. Two that are apart by less than a watch's error are taken to be
// as far apart as they should be.
func mostWithin(times []time.Time, d time.Duration) (most int) {
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= d-10*watchEvery {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
