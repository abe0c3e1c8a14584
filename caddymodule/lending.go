package caddymodule

import "sync"

// lending is what a configuration lends to what outlives it: its storage, its
// log. It begins with Start, or with the first request that needs it, as Caddy
// may serve before every app has started; and it ends once.
type lending struct {
	mu     sync.Mutex
	begun  bool
	detach []func()
}

// begin lends, unless that was done before, and tells whether it did.
func (l *lending) begin(lend func() (detach []func())) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun {
		return false
	}
	l.begun = true
	l.detach = lend()
	return true
}

// end takes everything back, for good.
func (l *lending) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	for _, detach := range l.detach {
		detach()
	}
	l.detach = nil
}
