// Package activation gives licenses for logins: an instance of a licensed application
// shows who logged in to its customer account, takes one of the account's seats, and
// gets a license that is signed here.
//
// It joins what auth/sso knows (who asks, who logged in) and what license signs. In
// between is the [Store]: which instances have a seat, which logins were used. What is
// answered was written there first, so a crash neither loses nor doubles an activation.
//
// Requests, answers and errors follow LicenseSpring's License API v4, with members of
// our own: `license` above all.
//
// # What is not here
//
// HTTP routing, configuration files, logs, metrics, and Caddy.
package activation

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// Config is what a Service is made of.
type Config struct {
	// SSO knows who may ask, and who logged in. Required.
	SSO *sso.Service

	// Terms are those of each account that hands out licenses, by its code.
	Terms map[string]Terms

	// Signer signs the licenses; nil: there is no key at the moment.
	Signer *license.Signer

	// Store holds the activations. Required.
	Store *Store

	// Observe is called with what became of each request. It must be fast. Nil: nobody asks.
	Observe func(Outcome)

	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Operation is what is asked for, of a closed set.
type Operation string

// The operations.
const (
	Activate          Operation = "activate"
	Check             Operation = "check"
	Deactivate        Operation = "deactivate"
	ActivateOffline   Operation = "activate_offline"
	DeactivateOffline Operation = "deactivate_offline"
)

// Operations lists them.
func Operations() []Operation {
	return []Operation{Activate, Check, Deactivate, ActivateOffline, DeactivateOffline}
}

// Outcome is what became of a request.
type Outcome struct {
	Operation Operation
	// Code is that of the refusal; empty: it was granted.
	Code sso.Code
	// Seat is the activation in question; nil if the request did not get so far.
	Seat *Record
	// Subject is who logged in for a seat; empty: nobody did.
	Subject string
	// New says whether the seat was not taken before.
	New bool
	// Signed is the type of the license that was signed; empty: none was.
	Signed license.Type
}

// Service answers requests. It is safe for concurrent use, and owns no goroutine.
type Service struct {
	sso     *sso.Service
	terms   map[string]*Terms
	signer  *license.Signer
	store   *Store
	observe func(Outcome)
	now     func() time.Time
}

// New checks the terms and makes a service. Errors name the account and the option.
func New(c Config) (*Service, error) {
	s := &Service{sso: c.SSO, terms: map[string]*Terms{}, signer: c.Signer, store: c.Store, observe: c.Observe, now: c.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if s.observe == nil {
		s.observe = func(Outcome) {}
	}
	for code, t := range c.Terms {
		ready, err := t.compile()
		if err == nil && c.Signer != nil {
			err = ready.try(c.Signer, code)
		}
		if err != nil {
			return nil, fmt.Errorf("account %q: license: %w", code, err)
		}
		s.terms[code] = ready
	}
	return s, nil
}

// Answer answers a request. It never fails: whatever is wrong is a refusal. It waits
// for storage, and where it must for the account's provider: 30 seconds at most.
// The query of a check is that of asked; contentType and body are the request's.
func (s *Service) Answer(ctx context.Context, op Operation, asked sso.Request, contentType string, body []byte) sso.Response {
	o := Outcome{Operation: op}
	done, refusal := s.perform(ctx, op, asked, contentType, body, &o)
	var answer sso.Response
	if refusal == nil {
		answer = s.sso.Success(done)
		refusal = answer.Refusal
	} else {
		answer = sso.Refused(refusal)
	}
	if refusal != nil {
		o.Code = refusal.Code
	}
	s.observe(o)
	return answer
}

// perform does what is asked for, and gives what is answered.
func (s *Service) perform(ctx context.Context, op Operation, asked sso.Request, contentType string, body []byte, o *Outcome) (any, *sso.Refusal) {
	caller, refusal := s.sso.Admit(ctx, asked)
	if refusal != nil {
		return nil, refusal
	}
	var a *ask
	switch op {
	case Activate, Deactivate:
		a, refusal = readJSON(op, body)
	case Check:
		a, refusal = readQuery(asked.RawQuery)
	case ActivateOffline, DeactivateOffline:
		a, refusal = readOffline(op, contentType, body, s.now())
	}
	if refusal != nil {
		return nil, refusal
	}
	switch op {
	case Activate, ActivateOffline:
		return s.activate(ctx, caller, a, o)
	case Check:
		return s.check(ctx, caller, a, o)
	}
	return s.deactivate(ctx, caller, a, o)
}

// activate takes a seat for who logged in. All that needs no login is checked before
// it: a code is good once.
func (s *Service) activate(ctx context.Context, caller *sso.Caller, a *ask, o *Outcome) (any, *sso.Refusal) {
	if refusal := s.sso.Check(caller, a.product, a.account); refusal != nil {
		return nil, refusal
	}
	terms := s.terms[a.account]
	if terms == nil {
		return nil, errNotEnabled
	}
	now := s.now()
	hosts, refusal := terms.admit(a, now)
	if refusal != nil {
		return nil, refusal
	}
	if s.signer == nil {
		return nil, errNoKey
	}
	who, refusal := s.sso.Identify(ctx, sso.Login{
		Product: a.product, Account: a.account, IDToken: a.idToken,
		Code: a.code, RedirectURI: a.redirect, Verifier: a.verifier,
	})
	if refusal != nil {
		return nil, refusal
	}
	o.Subject = who.Subject
	if terms.Claim != "" && !who.HasOne(terms.Claim, terms.ClaimValues) {
		return nil, errNotAllowed
	}
	seat := &Record{
		What: seats, Account: a.account, Product: a.product, Name: a.hardwareID, ID: uuid.New(),
		Subject: who.Subject, Email: who.Email, Hosts: hosts, Offline: a.requestID != "",
	}
	used := []*Record{{What: logins, Account: a.account, Product: a.product, Name: who.Once, Ends: who.Until.Unix()}}
	if a.requestID != "" {
		used = append(used, a.requestUsed())
	}
	taken, refusal := s.store.take(ctx, terms, seat, used)
	if refusal != nil {
		return nil, refusal
	}
	o.Seat, o.New = taken.seat, taken.fresh
	return s.grant(a, terms, taken, o)
}

// check renews the license of a seat.
func (s *Service) check(ctx context.Context, caller *sso.Caller, a *ask, o *Outcome) (any, *sso.Refusal) {
	terms, refusal := s.termsOf(ctx, caller, a, o)
	if refusal != nil {
		return nil, refusal
	}
	if terms == nil {
		return nil, errNotEnabled
	}
	if s.signer == nil {
		return nil, errNoKey
	}
	taken, refusal := s.store.renew(ctx, terms, a)
	if refusal != nil {
		return nil, refusal
	}
	o.Seat = taken.seat
	return s.grant(a, terms, taken, o)
}

// deactivate gives a seat back; that of an account without terms, too.
func (s *Service) deactivate(ctx context.Context, caller *sso.Caller, a *ask, o *Outcome) (any, *sso.Refusal) {
	if _, refusal := s.termsOf(ctx, caller, a, o); refusal != nil {
		return nil, refusal
	}
	var used []*Record
	if a.requestID != "" {
		used = append(used, a.requestUsed())
	}
	if refusal := s.store.free(ctx, a, used); refusal != nil {
		return nil, refusal
	}
	if a.requestID == "" {
		return struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Active  bool   `json:"license_active"`
		}{Code: "license_deactivated", Message: "License deactivated"}, nil
	}
	return s.signOffline(license.OfflineResponse{
		Type: license.OfflineDeactivation, RequestID: a.requestID, Product: a.product, HardwareID: a.hardwareID,
		LicenseKey: a.licenseKey.String(), Date: s.now().UTC().Format(time.RFC3339),
	})
}

// termsOf finds the seat that is asked about, if the caller may see it, and gives the
// terms of its account: nil if it has none any more.
func (s *Service) termsOf(ctx context.Context, caller *sso.Caller, a *ask, o *Outcome) (*Terms, *sso.Refusal) {
	if refusal := s.sso.CheckProduct(caller, a.product); refusal != nil {
		return nil, refusal
	}
	seat, refusal := s.store.find(ctx, a.licenseKey)
	switch {
	case refusal != nil:
		return nil, refusal
	case seat == nil || seat.Product != a.product || !s.sso.Sees(caller, a.product, seat.Account):
		return nil, errNotFound
	case seat.Name != a.hardwareID:
		return nil, errDevice
	}
	o.Seat = seat
	return s.terms[seat.Account], nil
}

// grant signs the license of a seat, and answers with it.
func (s *Service) grant(a *ask, t *Terms, taken taken, o *Outcome) (any, *sso.Refusal) {
	signed, err := s.signer.Sign(t.request(taken.seat, s.now()))
	if err != nil {
		return nil, &sso.Refusal{Code: sso.CodeInternal, Message: "The license cannot be signed", Cause: err}
	}
	o.Signed = t.Type
	answer, err := s.describe(t, taken, signed)
	if err != nil {
		return nil, &sso.Refusal{Code: sso.CodeInternal, Message: "The answer cannot be signed", Cause: err}
	}
	if a.requestID == "" {
		answer.License = signed
		return answer, nil
	}
	return s.signOffline(license.OfflineResponse{
		Type: license.OfflineActivation, RequestID: a.requestID, Product: a.product, HardwareID: a.hardwareID,
		LicenseKey: taken.seat.ID.String(), Date: s.now().UTC().Format(time.RFC3339),
		Activation: answer, License: signed,
	})
}
