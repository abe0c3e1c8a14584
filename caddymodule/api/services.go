package api

import (
	"context"
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
)

// Services is what the API works on: one configuration's.
type Services struct {
	// Authenticate tells whose token a request carries, and refuses callers whom
	// [CheckGroups] refuses. It is asked once for each request to a route that
	// needs a token. Nil if the configuration does not say whose tokens may
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

	// Revocations are what was revoked.
	Revocations Revocations

	// Lifetime is how long a token of the issuer with that identifier is accepted at
	// most, from when it is issued; zero: nothing says so.
	Lifetime func(identifier string) time.Duration

	// SSO answers with the addresses of login pages; nil: not configured.
	SSO *sso.Service

	// SSOGroup is the group that may ask for them with a token.
	SSOGroup Group

	// Operation is what operators ask about.
	Operation Operation

	// CountSSO counts an answer about a login page, with the response type asked
	// for and the code of the error, empty for an address. Nil: not counted.
	CountSSO func(responseType string, code sso.Code)

	// Activate answers requests for a license in exchange for a login, and about one.
	// Nil: no login brings one.
	Activate func(context.Context, activation.Operation, activation.Request) sso.Response

	// Seats are the instances that have such a license; nil: no login brings one.
	Seats Seats

	// License is the license in force; nil: none is asked for.
	License Licensing

	// Room refuses so many new service accounts, if the license in force is for fewer
	// and says so; nil: no license is asked for.
	Room func(more int) error

	// Usage is how much is used of the license, signed by the instance; nil: as above.
	Usage func(context.Context) (*usage.Report, error)

	// Sign makes a license. Nil, or the error [license.ErrMissingKey]: there is
	// no key to sign with.
	Sign func(license.Request) (*license.License, error)

	// Signed is the record of what Sign made; nil: nothing is signed here.
	Signed Signed

	// OnSigned is called for each license that was signed and recorded. May be nil.
	OnSigned func(actor string, e active.Entry)

	// Audit records what was asked for and what came of it. Required.
	Audit func(AuditEntry)

	// LogError logs an answer of 500 or 503 for the operator. Required.
	LogError func(*Problem)
}

// Operation is what operators ask about.
type Operation struct {
	// Version is the version of the module in this build.
	Version string

	// Issuers are the issuers of tokens, in the order of the configuration.
	Issuers []IssuerKeys

	// Explain says what would become of a token, sent by a bearer or, where sender is
	// not nil, with a proof or a certificate.
	Explain func(ctx context.Context, token string, sender *bound.Request) auth.Explanation

	// Rules gives a route's rules by their name, or nil; and all names. May be nil.
	Rules func(name string) (rules *auth.Predicate, names []string)

	// Proofs is how proofs of bound tokens are remembered. Nil, or nil as the answer: the
	// configuration does not speak of them.
	Proofs func() *ProofState

	// License is the license's status. Nil: no license is asked for.
	License func() LicenseStatus

	// Seats are those of the licenses that logins bring. Nil: none does.
	Seats func() SeatState

	// Node is this machine's name; empty: not known.
	Node string

	// Changes are the last lines of the audit log that this node wrote, the newest
	// first.
	Changes func() []Change

	// Hour is what became of requests in the last hour.
	Hour func() Hour
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	Actor   string `json:"actor"`   // who: issuer/subject, or admin-endpoint
	Action  string `json:"action"`  // what: service_account.create, …
	Target  string `json:"target"`  // to what: a subject, a license id, …
	Outcome string `json:"outcome"` // done, refused or, where it is the server's fault, failed
}

// Change is a line of the audit log that this node wrote.
type Change struct {
	At time.Time `json:"at"`
	AuditEntry
}

// The outcomes in the audit log.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused"
	outcomeFailed  = "failed"
)

// audit records that something was done.
func (a *API) audit(c *call, action, target string) { a.auditOutcome(c, action, target, outcomeDone) }

func (a *API) auditOutcome(c *call, action, target, outcome string) {
	a.services.Audit(AuditEntry{Actor: c.caller.Name(), Action: action, Target: target, Outcome: outcome})
}

// failed records an attempt that came to nothing, and gives the answer to it.
func (a *API) failed(c *call, action, target string, err error) error {
	p := problemOf(err)
	outcome := outcomeRefused
	if p.Status >= http.StatusInternalServerError {
		outcome = outcomeFailed
	}
	a.auditOutcome(c, action, target, outcome)
	return p
}
