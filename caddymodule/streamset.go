package caddymodule

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// streams are those that are open now, over all configurations.
var streams = streamSet{open: make(map[*streamGuard]struct{})}

// streamSet finds the streams of callers who are no longer let in.
type streamSet struct {
	mu           sync.Mutex
	open         map[*streamGuard]struct{}
	registration *auth.Registration // that of the last recheck; nil until there is one
}

// add takes a stream in, and gives the refusal if its caller's account was
// changed between the look at the token and now.
func (s *streamSet) add(g *streamGuard) *auth.Refusal {
	s.mu.Lock()
	s.open[g] = struct{}{}
	registration := s.registration
	s.mu.Unlock()
	return ended(registration, g.caller)
}

func (s *streamSet) remove(g *streamGuard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, g)
}

// recheck cuts the streams of callers who are let in no more, by the configuration
// that runs. One that is starting may not get that far, and one that stops has made
// room for the next, so their own registration judges only where none runs.
func (s *streamSet) recheck(own *auth.Registration) {
	s.mu.Lock()
	registration := own
	if running, err := runningApp(); err == nil {
		registration = running.entrance.registration
	}
	s.registration = registration
	all := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, g := range all {
		if refusal := ended(registration, g.caller); refusal != nil {
			g.end(refusal)
		}
	}
}

// ended gives the refusal of a caller who was let in and would not be now. That
// nobody can tell at the moment is no reason to cut a stream.
func ended(registration *auth.Registration, caller *auth.Principal) *auth.Refusal {
	if registration == nil {
		return nil
	}
	_, refusal := registration.Admit(caller.Token(), time.Now())
	if refusal != nil && refusal.Status == http.StatusServiceUnavailable {
		return nil
	}
	return refusal
}
