package api

import (
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// Services is what the API works on: one configuration's.
type Services struct {
	// Authenticate tells whose token a request carries. Nil if the
	// configuration does not say whose tokens may administer.
	Authenticate func(r *http.Request) (*auth.Principal, *auth.Refusal)

	// AdminGroup is the group that may administer.
	AdminGroup string

	// SigningGroup is the group that may sign licenses.
	SigningGroup string

	// Issuers are the names of the configured issuers.
	Issuers []string

	// Accounts are the service accounts.
	Accounts Accounts

	// SSO answers with the addresses of login pages; nil: not configured.
	SSO *sso.Service

	// SSOGroup is the group that may ask for them with a token.
	SSOGroup string

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
	Outcome string // done or refused
}

func (s *Services) logError(p *Problem) {
	if s.LogError != nil {
		s.LogError(p)
	}
}

func (a *API) audit(c *call, action, target string) { a.auditOutcome(c, action, target, "done") }

func (a *API) auditOutcome(c *call, action, target, outcome string) {
	if a.services.Audit != nil {
		a.services.Audit(AuditEntry{Actor: c.caller.Name(), Action: action, Target: target, Outcome: outcome})
	}
}
