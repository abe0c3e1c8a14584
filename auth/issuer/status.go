package issuer

import (
	"slices"
	"time"
)

// EventKind says what happened. The set is closed.
type EventKind string

// The kinds of events.
const (
	// FetchSucceeded: a key set was fetched, or read from its file.
	FetchSucceeded EventKind = "fetch_succeeded"
	// FetchFailed: no key set could be fetched; Err says why. The last good keys
	// stay.
	FetchFailed EventKind = "fetch_failed"
	// Unavailable follows the first FetchFailed of an outage, once.
	Unavailable EventKind = "unavailable"
	// Recovered follows the first FetchSucceeded after an outage, once.
	Recovered EventKind = "recovered"
	// KeysChanged: the trusted keys have changed; Added and Removed name them.
	KeysChanged EventKind = "keys_changed"
	// Restored: keys kept in storage are used until a fetch succeeds; Added
	// names them.
	Restored EventKind = "restored"
	// Warned: something is wrong that stops nothing; Err says what. The same one
	// is not repeated while it lasts.
	Warned EventKind = "warned"
)

// Event is one thing that happened to an issuer's metadata or keys.
type Event struct {
	Kind   EventKind
	Time   time.Time
	Issuer string
	// Added and Removed are key ids (a key without one is named by its RFC 7638
	// thumbprint).
	Added, Removed []string
	// Err is the reason of FetchFailed, Unavailable and Warned. It holds
	// neither remote bodies nor tokens.
	Err error
}

// note queues an event; e.mu is held.
func (e *Engine) note(ev Event) {
	ev.Time, ev.Issuer = e.now(), e.cfg.Issuer
	e.events.Note(ev)
}

// warn queues a warning unless it is the same as the last one of its topic; nil ends
// it. e.mu is held.
func (e *Engine) warn(topic string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if e.warned[topic] == text {
		return
	}
	e.warned[topic] = text
	if err != nil {
		e.note(Event{Kind: Warned, Err: err})
	}
}

// deliver hands queued events to the observer of the newest configuration; without
// a lock.
func (e *Engine) deliver() {
	e.events.Deliver(e.leases.NewestHost)
}

// KeyStatus describes one key for operators.
type KeyStatus struct {
	ID         string `json:"id"`
	Type       string `json:"kty"`
	Algorithm  string `json:"alg,omitempty"`
	Use        string `json:"use,omitempty"`
	Thumbprint string `json:"thumbprint"` // RFC 7638, SHA-256
	// ServesUntil is set for a key that the last set lacks and that is used for a
	// while longer, because the issuer's replicas publish different sets.
	ServesUntil time.Time `json:"serves_until,omitzero"`
}

// Status describes an engine for operators. Times are zero for never.
type Status struct {
	Issuer string `json:"issuer"`
	// Source is "discovery", "url …" or "file …".
	Source string `json:"source"`
	// JWKSURI is the address in use without its query, empty while it is not
	// discovered.
	JWKSURI string `json:"jwks_uri,omitempty"`
	// Keys are those of the current set, also when it is Stale.
	Keys []KeyStatus `json:"keys"`
	// Keyless: the issuer's metadata say that it has no key set, which
	// Config.KeysOptional allows.
	Keyless bool `json:"keyless,omitempty"`
	// Ignored says which keys of the set are not used, and why.
	Ignored   []string  `json:"ignored,omitempty"`
	FetchedAt time.Time `json:"fetched_at,omitzero"`
	// NextRefresh is when the background asks again.
	NextRefresh time.Time `json:"next_refresh,omitzero"`
	// Stale: there are keys, but older than max_stale, and they are not used.
	Stale bool `json:"stale,omitempty"`
	// FromStorage: the keys were kept from before the start, and no fetch has
	// succeeded since.
	FromStorage bool `json:"from_storage,omitempty"`
	// LastError is why the last fetch of keys failed, else of metadata; empty
	// after a success.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// Status returns the engine's state.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := Status{
		Issuer: e.cfg.Issuer, Source: e.cfg.shown(), JWKSURI: ShownURL(e.cfg.JWKSURI),
		Keys: []KeyStatus{}, FetchedAt: e.keys.fetchedAt, NextRefresh: e.keys.next,
		FromStorage: e.keys.restored, Ignored: slices.Clone(e.keys.ignored),
	}
	if e.cfg.discovers() && e.metadata.known != nil {
		st.JWKSURI = ShownURL(e.metadata.known.JWKSURI)
		st.Keyless = e.metadata.known.JWKSURI == ""
	}
	if jwks := e.jwks.Load(); jwks != nil {
		st.Stale = !e.trust.fresh()
		for _, k := range jwks.keys {
			st.Keys = append(st.Keys, KeyStatus{
				ID: k.id, Type: k.members.Type, Algorithm: k.alg, Use: k.use, Thumbprint: k.thumb, ServesUntil: e.flaps.absent[k],
			})
		}
	}
	switch {
	case e.keys.failure != nil:
		st.LastError, st.LastErrorAt = e.keys.failure.Error(), e.keys.failedAt
	case e.metadata.failure != nil:
		st.LastError, st.LastErrorAt = e.metadata.failure.Error(), e.metadata.failedAt
	}
	return st
}
