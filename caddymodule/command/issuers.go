package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// issuerStatus is how an issuer and its keys are.
type issuerStatus struct {
	Name        string      `json:"name"`
	Issuer      string      `json:"issuer"`
	Source      string      `json:"source"`
	Healthy     bool        `json:"healthy"`
	Keys        []keyStatus `json:"keys"`
	FetchedAt   moment      `json:"fetched_at"`
	NextRefresh moment      `json:"next_refresh"`
	LastError   string      `json:"last_error"`
	LastErrorAt moment      `json:"last_error_at"`
	Ignored     []string    `json:"ignored"`  // keys that are not used, and why
	Restored    bool        `json:"restored"` // from storage, not fetched since
	// KindsTold: the configuration says how people and machines are told.
	KindsTold      *bool  `json:"kinds_told"` // nil: an older server
	UnclearCallers uint64 `json:"unclear_callers"`
}

type keyStatus struct {
	ID        string `json:"kid"`
	Type      string `json:"kty"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
	// ServesUntil is set for a key that the issuer's last set lacks.
	ServesUntil moment `json:"serves_until"`
}

// issuers asks for all issuers, and gives the answer's text as well.
func (s *server) issuers(ctx context.Context) (list []issuerStatus, text json.RawMessage, err error) {
	text, err = s.fetch(ctx, ask{method: http.MethodGet, path: "/api/issuers"})
	if err == nil && !isNull(text) { // which is no issuers
		err = s.read(text, &list)
	}
	return list, text, err
}

func (p *program) issuerTable(issuers []issuerStatus) table {
	t := table{header: []string{"NAME", "HEALTH", "KEYS", "FETCHED", "NEXT REFRESH", "SOURCE", "LAST ERROR"}}
	for i := range issuers {
		s := &issuers[i]
		failure := oneLine(s.LastError)
		if s.LastError != "" && !s.LastErrorAt.IsZero() {
			failure = distance(s.LastErrorAt.Sub(p.now())) + ": " + failure
		}
		t.add(s.Name, s.health(), fmt.Sprint(len(s.Keys)), first(p.ago(s.FetchedAt), "never"), p.ago(s.NextRefresh), clip(s.Source), failure)
	}
	return t
}

func (s *issuerStatus) health() string {
	switch {
	case s.Healthy && s.Restored:
		return "healthy (kept keys)"
	case s.Healthy:
		return "healthy"
	}
	return "not healthy"
}

// unclearCallers warns of issuers whose people cannot be told from machines; there is
// no row where all is well.
func unclearCallers(issuers []issuerStatus) (t table) {
	for i := range issuers {
		s := &issuers[i]
		switch {
		case s.UnclearCallers > 0:
			t.add(s.Name, fmt.Sprintf("nothing told whether a person or a machine brought %d of its tokens: set preset or kind", s.UnclearCallers))
		case s.KindsTold != nil && !*s.KindsTold:
			t.add(s.Name, "people and machines are told by the marks of common issuers only: set preset or kind")
		}
	}
	return t
}

// ago is a time as people talk of it; empty for none.
func (p *program) ago(m moment) string {
	if m.IsZero() {
		return ""
	}
	return distance(m.Sub(p.now()))
}
