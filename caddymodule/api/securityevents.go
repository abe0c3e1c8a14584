package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/secevent"
)

// EventReceiver takes the events of one issuer.
type EventReceiver struct {
	Receiver *secevent.Receiver

	// Ways names how events come, for people.
	Ways []string

	// Logout, Push and Global say which requests are taken.
	Logout, Push, Global bool

	// Bearer is what the sender of pushed events must send; empty: nothing.
	Bearer string

	// Poller fetches events; nil: none are.
	Poller *secevent.Poller

	// LastEvent is when an event came that the issuer had signed; zero: none did.
	LastEvent func() time.Time
}

// retryEvent is when a sender may send an event again that could not be taken.
const retryEvent = 5 * time.Second

// receiveEvent takes what an issuer says. What is signed by its key is its
// authorization: no token is looked at.
func (a *API) receiveEvent(c *call) error {
	name, way, _ := strings.Cut(c.rest, "/")
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	for _, one := range a.services.Operation.Issuers {
		receiver := one.Events
		switch {
		case receiver == nil || one.Name != name:
		case way == "logout" && receiver.Logout:
			return receiver.logout(c)
		case way == "events" && receiver.Push:
			return receiver.push(c)
		case way == "revoke" && receiver.Global:
			return receiver.global(c)
		}
	}
	return problem(http.StatusNotFound, "no such events are taken here: expected the name of an issuer with the option events, and /logout, /events or /revoke as it says")
}

// logout takes a logout token (OpenID Connect Back-Channel Logout 1.0, sections 2.5
// to 2.8).
func (r *EventReceiver) logout(c *call) error {
	body, err := c.readBody("application/x-www-form-urlencoded")
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["logout_token"]) != 1 {
		writeJSON(c.w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "expected one parameter logout_token in the form"})
		return nil
	}
	err = r.Receiver.Logout(c.toTheEnd(), form["logout_token"][0])
	var refusal *secevent.Refusal
	switch {
	case errors.As(err, &refusal):
		writeJSON(c.w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": refusal.Description})
	case err != nil:
		return untaken(err)
	default:
		c.w.WriteHeader(http.StatusOK)
	}
	return nil
}

// push takes a security event token (RFC 8935, section 2).
func (r *EventReceiver) push(c *call) error {
	if !r.authorized(c.r) {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
		writeEventError(c.w, http.StatusUnauthorized, secevent.AuthenticationFailed, "the Authorization header does not hold the bearer token that is configured")
		return nil
	}
	token, err := c.readBody("application/secevent+jwt")
	if err != nil {
		if p := problemOf(err); p.Status == http.StatusBadRequest {
			writeEventError(c.w, p.Status, secevent.InvalidRequest, p.Message)
			return nil
		}
		return err
	}
	_, err = r.Receiver.SET(c.toTheEnd(), string(token))
	var refusal *secevent.Refusal
	switch {
	case errors.As(err, &refusal):
		c.w.Header().Set("Content-Language", "en")
		writeEventError(c.w, http.StatusBadRequest, refusal.Code, refusal.Description)
	case err != nil:
		return untaken(err)
	default:
		c.w.WriteHeader(http.StatusAccepted)
	}
	return nil
}

// writeEventError answers as RFC 8935, section 2.3, says.
func writeEventError(w http.ResponseWriter, status int, code secevent.Code, description string) {
	writeJSON(w, status, struct {
		Err         secevent.Code `json:"err"`
		Description string        `json:"description"`
	}{code, description})
}

// authorized compares in constant time, whatever the length.
func (r *EventReceiver) authorized(request *http.Request) bool {
	if r.Bearer == "" {
		return true
	}
	token, refusal := auth.ParseAuthorization(request.Header["Authorization"])
	want, got := sha256.Sum256([]byte(r.Bearer)), sha256.Sum256([]byte(token))
	return refusal == nil && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// global takes a request for global token revocation
// (draft-parecki-oauth-global-token-revocation, sections 3 and 4).
func (r *EventReceiver) global(c *call) error {
	token, unauthorized := auth.ParseAuthorization(c.r.Header["Authorization"])
	if unauthorized != nil {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
		return problem(http.StatusUnauthorized, "expected a JWT of the issuer in the Authorization header, with the type global-token-revocation+jwt")
	}
	body, err := c.readBody(typeJSON)
	if err != nil {
		return err
	}
	err = r.Receiver.Global(c.toTheEnd(), token, body)
	var refusal *secevent.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Code == secevent.AuthenticationFailed:
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
		return problem(http.StatusUnauthorized, refusal.Description)
	case errors.As(err, &refusal):
		return problem(http.StatusBadRequest, refusal.Description)
	case err != nil:
		return untaken(err)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// untaken has the sender send an event again: keys or storage are out of reach.
func untaken(err error) error {
	p := problemOf(err)
	return &Problem{
		Status: http.StatusServiceUnavailable, RetryAfter: max(p.RetryAfter, retryEvent), Cause: err,
		Message: "the event could not be made durable, or the issuer's keys cannot be had now: send it again",
	}
}

// EventStatus is how an issuer's events come.
type EventStatus struct {
	Ways        []string `json:"ways"`
	LastEvent   Moment   `json:"last_event"` // of this node, since it began
	LastPoll    Moment   `json:"last_poll"`
	PollFailure string   `json:"poll_failure"` // of the last poll; empty: it went well
}

func (r *EventReceiver) state() *EventStatus {
	if r == nil {
		return nil
	}
	state := &EventStatus{Ways: r.Ways, LastEvent: Moment{r.LastEvent()}}
	if r.Poller != nil {
		at, failure := r.Poller.LastPoll()
		state.LastPoll, state.PollFailure = Moment{at}, failure
	}
	return state
}
