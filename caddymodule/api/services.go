package api

import (
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Services is what the API works on: one configuration's.
type Services struct {
	// Authenticate tells whose token a request carries, and refuses callers whom
	// [CheckGroups] refuses. Each request with a token, or refused for want of
	// one, comes by once. Nil if the configuration does not say whose tokens may
	// administer.
	Authenticate func(r *http.Request, groups ...Group) (*auth.Principal, *auth.Refusal)

	// AdminGroup is the group that may administer.
	AdminGroup Group

	// SigningGroup is the group that may sign licenses.
	SigningGroup Group

	// Issuers are the configured issuers.
	Issuers account.Issuers

	// Accounts are the service accounts.
	Accounts Accounts

	// SSO answers with the addresses of login pages; nil: not configured.
	SSO *sso.Service

	// SSOGroup is the group that may ask for them with a token.
	SSOGroup Group

	// Operation is what operators ask about.
	Operation Operation

	// CountSSO counts an answer about a login page, with the response type asked
	// for and the code of the error, empty for an address. Nil: not counted.
	CountSSO func(responseType string, code sso.Code)

	// License is the license in force; nil: none is asked for.
	License Licensing

	// Sign makes a license. Nil, or the error [license.ErrMissingKey]: there is
	// no key to sign with.
	Sign func(license.Request) (*license.License, error)

	// Signed is the record of what Sign made; nil: nothing is signed here.
	Signed Signed

	// OnSigned is told of each license that was signed and recorded. May be nil.
	OnSigned func(actor string, e active.Entry)

	// Audit records what was asked for and what came of it. Required.
	Audit func(AuditEntry)

	// LogError tells the operator about an answer of 500 or 503. Required.
	LogError func(*Problem)
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	Actor   string // who: issuer/subject, or admin-endpoint
	Action  string // what: service_account.create, …
	Target  string // to what: a subject, a license id, …
	Outcome string // done, refused or, where it is the server's fault, failed
}

// The outcomes in the audit log.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused"
	outcomeFailed  = "failed"
)

func (s *Services) countSSO(answer sso.Response) {
	if s.CountSSO == nil {
		return
	}
	var code sso.Code
	if answer.Refusal != nil {
		code = answer.Refusal.Code
	}
	s.CountSSO(answer.ResponseType, code)
}

func (s *Services) logError(p *Problem) {
	if s.LogError != nil {
		s.LogError(p)
	}
}

func (a *API) audit(c *call, action, target string) { a.auditOutcome(c, action, target, outcomeDone) }

func (a *API) auditOutcome(c *call, action, target, outcome string) {
	if a.services.Audit != nil {
		a.services.Audit(AuditEntry{Actor: c.caller.Name(), Action: action, Target: target, Outcome: outcome})
	}
}
