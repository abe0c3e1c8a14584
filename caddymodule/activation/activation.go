// Package activation gives licenses for logins: an instance of a licensed application
// shows who logged in to its customer account, takes one of the account's seats, and
// gets a license that is signed here.
//
// It joins what auth/sso tells (who asks, who logged in) and what license signs. In
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
	"crypto"
	"crypto/rsa"
	"errors"
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

	// Observe is told what became of each request. It must be fast. Nil: nobody is.
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
	// New tells whether the seat was not taken before.
	New bool
	// Signed is the type of the license that was signed; empty: none was.
	Signed license.Type
}

// Service answers requests. It is safe for concurrent use, and owns no goroutine.
type Service struct {
	sso     *sso.Service
	terms   map[string]*terms
	signer  *license.Signer
	store   *Store
	observe func(Outcome)
	now     func() time.Time
}

// New checks the terms and makes a service. Errors name the account and the option.
func New(c Config) (*Service, error) {
	s := &Service{sso: c.SSO, terms: map[string]*terms{}, signer: c.Signer, store: c.Store, observe: c.Observe, now: c.Now}
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

// CheckKey says whether a key can sign the licenses of terms.
func (t Terms) CheckKey(public crypto.PublicKey) error {
	if _, ok := public.(*rsa.PublicKey); t.Version == 1 && !ok {
		return errors.New("version 1 is signed by RSA keys only, and the key of `signing` is another: use version 2, or an RSA key")
	}
	return nil
}

// Request is what a Service is asked.
type Request struct {
	// SSO is who asks; its query is that of a check.
	SSO sso.Request

	// ContentType and Body are the request's.
	ContentType string
	Body        []byte
}

// Answer answers a request. It never fails: whatever is wrong is a refusal. It waits
// for storage, and where it must for the account's provider: 30 seconds at most.
func (s *Service) Answer(ctx context.Context, op Operation, r Request) sso.Response {
	o := Outcome{Operation: op}
	body, refusal := s.perform(ctx, op, r, &o)
	var answer sso.Response
	if refusal == nil {
		answer = s.sso.Success(body)
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

func (s *Service) perform(ctx context.Context, op Operation, r Request, o *Outcome) (body any, refusal *sso.Refusal) {
	caller, refusal := s.sso.Admit(ctx, r.SSO)
	if refusal != nil {
		return nil, refusal
	}
	var a *ask
	switch op {
	case Activate, Deactivate:
		a, refusal = readJSON(op, r.Body)
	case Check:
		a, refusal = readQuery(r.SSO.RawQuery)
	case ActivateOffline, DeactivateOffline:
		a, refusal = readOffline(op, r.ContentType, r.Body, s.now())
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
		return deactivated{Code: "license_deactivated", Message: "License deactivated"}, nil
	}
	return s.signOffline(license.OfflineResponse{
		Type: license.OfflineDeactivation, RequestID: a.requestID, Product: a.product, HardwareID: a.hardwareID,
		LicenseKey: a.licenseKey.String(), Date: s.now().UTC().Format(time.RFC3339),
	})
}

// termsOf finds the seat that is asked about, if the caller may see it, and gives the
// terms of its account: nil if it has none any more.
func (s *Service) termsOf(ctx context.Context, caller *sso.Caller, a *ask, o *Outcome) (*terms, *sso.Refusal) {
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
func (s *Service) grant(a *ask, t *terms, taken taken, o *Outcome) (any, *sso.Refusal) {
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

// The refusals that are always worded the same.
var (
	errNotEnabled  = refuse(sso.CodeLicenseNotEnabled, "No licenses are handed out for this customer account")
	errNoKey       = &sso.Refusal{Code: sso.CodeTemporarilyUnavailable, Message: "There is no key to sign licenses with at the moment", RetryAfter: time.Minute}
	errNotAllowed  = refuse(sso.CodeUserNotAllowed, "This person may not activate licenses of the customer account")
	errNotFound    = refuse(sso.CodeLicenseNotFound, "There is no activation with that license_key for the product")
	errDevice      = refuse(sso.CodeDeviceNotFound, "The activation is of another hardware_id")
	errNotActive   = refuse(sso.CodeLicenseNotActive, "The activation was not checked in time and its seat is free: activate again")
	errUsed        = refuse(sso.CodeIDTokenUsed, "This login was used already: log in again")
	errRequestUsed = refuse(sso.CodeOfflineRequestUsed, "This request was answered already: make a new one")
	errContract    = refuse(sso.CodeLicenseExpired, "The contract of the customer account is over")
	errTrial       = refuse(sso.CodeTrialExpired, "The trial of the customer account is over")
	errNoSeat      = refuse(sso.CodeActivatedMaxTimes, "All seats of the customer account are taken: deactivate another instance first")
	errNoOwnSeat   = refuse(sso.CodeActivatedMaxTimes, "This person has all seats that one person may have: deactivate another instance first")
	errHosts       = refuse(sso.CodeHostsNotAllowed, "A host is not among those of the customer account")
)

func refuse(code sso.Code, message string) *sso.Refusal {
	return &sso.Refusal{Code: code, Message: message}
}

func invalid(what string) *sso.Refusal {
	return refuse(sso.CodeValidation, "Validation failed: "+what)
}
