package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress shows a person who waits how far long work has come, a line every few
// seconds. It may be used by several goroutines.
type progress struct {
	out   io.Writer
	every time.Duration
	now   func() time.Time

	mu   sync.Mutex
	part string
	last time.Time
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, every: 5 * time.Second, now: time.Now}
}

// begin names the part that is measured from now on; the func given prints how
// long it took.
func (p *progress) begin(part string) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	began := p.now()
	p.part, p.last = part, began
	fmt.Fprintf(p.out, "%s …\n", part)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintf(p.out, "%s: done in %.1f s\n", part, p.now().Sub(began).Seconds())
	}
}

// step reports that so many of all are done, unless it has just reported
// something.
func (p *progress) step(what string, done, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Sub(p.last) < p.every {
		return
	}
	p.last = now
	fmt.Fprintf(p.out, "%s: %s: %d of %d\n", p.part, what, done, all)
}
