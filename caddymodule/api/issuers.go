package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/introspection"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// IssuerKeys is a configured issuer, and where its keys are kept.
type IssuerKeys struct {
	Name string
	Keys Keys

	// KindsTold: the configuration says how people and machines are distinguished.
	KindsTold bool

	// UnclearCallers counts the verified tokens that nothing marks as a person's or a
	// machine's. Nil: not counted.
	UnclearCallers func() uint64

	// Introspection is how the issuer answers questions about its tokens. Nil: it is
	// asked none.
	Introspection func() introspection.Status

	// Events takes what the issuer says about those who hold its tokens; nil: nothing.
	Events *EventReceiver
}

// Keys are an issuer's keys: an [*issuer.Engine].
type Keys interface {
	Status() issuer.Status
	Refresh(ctx context.Context) error
}

// IssuerStatus is the state of an issuer and its keys.
type IssuerStatus struct {
	Name   string `json:"name"`
	Issuer string `json:"issuer"` // its identifier
	Source string `json:"source"`
	// Healthy: there are keys that serve, or the issuer is only asked and has none, and
	// the last fetch went well.
	Healthy     bool        `json:"healthy"`
	Keys        []KeyStatus `json:"keys"`
	FetchedAt   Moment      `json:"fetched_at"`
	NextRefresh Moment      `json:"next_refresh"`
	LastError   string      `json:"last_error"` // of the last fetch; empty: it went well
	LastErrorAt Moment      `json:"last_error_at"`
	Ignored     []string    `json:"ignored"`  // keys of the set that are not used, and why
	Restored    bool        `json:"restored"` // the keys are from storage, not fetched since
	// KindsTold: a preset or the option kind says how people and machines are distinguished.
	KindsTold *bool `json:"kinds_told"` // nil: of an older server
	// UnclearCallers counts the tokens of which nothing says whether a person or a machine sent them.
	UnclearCallers uint64 `json:"unclear_callers"`
	// Introspection: null where the issuer is asked nothing about its tokens.
	Introspection *IntrospectionStatus `json:"introspection"`
	// Events: how the issuer's events come. Null: none are taken.
	Events *EventStatus `json:"events"`
}

// IntrospectionStatus is how an issuer answers questions about its tokens.
type IntrospectionStatus struct {
	Endpoint string `json:"endpoint"` // without its query; empty: not known
	// Healthy: the last question was answered, or there was none yet.
	Healthy     bool   `json:"healthy"`
	Active      uint64 `json:"active"`   // questions so far about tokens that are
	Inactive    uint64 `json:"inactive"` // and that are not
	Failed      uint64 `json:"failed"`   // without an answer
	Limited     uint64 `json:"limited"`  // not sent, as too many found no active token
	AnsweredAt  Moment `json:"answered_at"`
	LastError   string `json:"last_error"` // of the last question; empty: it was answered
	LastErrorAt Moment `json:"last_error_at"`
}

type KeyStatus struct {
	ID        string `json:"kid"`
	Type      string `json:"kty"`
	Algorithm string `json:"alg"` // empty: the key names none
	Use       string `json:"use"`
	// ServesUntil: the last set lacks the key, which serves on until then, because
	// the issuer's replicas publish different sets.
	ServesUntil Moment `json:"serves_until,omitzero"`
}

// refreshLimit is how long a caller waits for a fetch.
const refreshLimit = 20 * time.Second

// listIssuers answers with all issuers, in the order of the configuration.
func (a *API) listIssuers(c *call) error {
	writeJSON(c.w, http.StatusOK, a.issuerStatuses())
	return nil
}

func (a *API) issuerStatuses() []IssuerStatus {
	states := make([]IssuerStatus, 0, len(a.services.Operation.Issuers))
	for _, one := range a.services.Operation.Issuers {
		states = append(states, one.state())
	}
	return states
}

// refreshIssuer fetches an issuer's keys now.
func (a *API) refreshIssuer(c *call) error {
	name, found := strings.CutSuffix(c.rest, "/refresh")
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	var names []string
	for _, one := range a.services.Operation.Issuers {
		if found && one.Name == name {
			return a.refresh(c, one)
		}
		names = append(names, one.Name)
	}
	expected := "none, as none is configured"
	if len(names) > 0 {
		expected = strings.Join(names, " or ")
	}
	if !found {
		return problem(http.StatusNotFound, "there is no such route: expected /refresh behind the name of the issuer")
	}
	return problem(http.StatusNotFound, "there is no such issuer: expected "+expected)
}

func (a *API) refresh(c *call, one IssuerKeys) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), refreshLimit)
	defer cancel()
	if err := one.Keys.Refresh(ctx); err != nil {
		return a.failed(c, "issuer.refresh", one.Name, &Problem{
			Status: http.StatusServiceUnavailable, RetryAfter: 5 * time.Second, Cause: err,
			Message: "the keys could not be fetched; those known stay: " + err.Error(),
		})
	}
	a.audit(c, "issuer.refresh", one.Name)
	writeJSON(c.w, http.StatusOK, one.state())
	return nil
}

func (k IssuerKeys) state() IssuerStatus {
	s := k.Keys.Status()
	state := IssuerStatus{
		Name: k.Name, Issuer: s.Issuer, Source: s.Source,
		Healthy: (len(s.Keys) > 0 || s.Keyless) && !s.Stale && s.LastError == "",
		Keys:    make([]KeyStatus, 0, len(s.Keys)), Restored: s.FromStorage,
		Ignored:   append([]string{}, s.Ignored...),
		FetchedAt: Moment{s.FetchedAt}, NextRefresh: Moment{s.NextRefresh},
		LastError: s.LastError, LastErrorAt: Moment{s.LastErrorAt},
		KindsTold: new(k.KindsTold), Events: k.Events.state(),
	}
	if k.UnclearCallers != nil {
		state.UnclearCallers = k.UnclearCallers()
	}
	if k.Introspection != nil {
		state.Introspection = introspectionStatusOf(k.Introspection())
	}
	for _, key := range s.Keys {
		state.Keys = append(state.Keys, KeyStatus{key.ID, key.Type, key.Algorithm, key.Use, Moment{key.ServesUntil}})
	}
	return state
}

func introspectionStatusOf(s introspection.Status) *IntrospectionStatus {
	return &IntrospectionStatus{
		Endpoint: s.Endpoint, Healthy: s.LastError == "",
		Active: s.Questions[introspection.Active], Inactive: s.Questions[introspection.Inactive],
		Failed: s.Questions[introspection.Failed], Limited: s.Questions[introspection.Limited],
		AnsweredAt: Moment{s.AnsweredAt}, LastError: s.LastError, LastErrorAt: Moment{s.LastErrorAt},
	}
}
