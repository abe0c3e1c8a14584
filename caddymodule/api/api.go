// Package api is Gatehouse's HTTP API: one implementation, served in two
// places, on Caddy's admin endpoint and wherever the directive gatehouse_api
// stands. It speaks JSON, asks for a bearer token, and answers every error with
// {"message": "…"}.
//
// It knows HTTP, auth and license, and nothing of Caddy: what it works on is
// handed to it by [Services], made anew from each configuration.
package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
)

// API answers the routes. It is safe for concurrent use.
type API struct {
	services Services
	routes   []route

	importing sync.Mutex
	ssoLines  rate.Sometimes // of logSSO
}

// New makes the API of one configuration.
func New(services Services) *API {
	a := &API{services: services, ssoLines: rate.Sometimes{Interval: time.Minute}}
	a.routes = a.table()
	return a
}

// call is one request to the API.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	trusted   bool            // see ServeHTTP
	principal *auth.Principal // the caller; nil: one of the admin endpoint without a token
	admin     bool            // the caller may administer
	rest      string          // of the escaped path, behind the route's prefix
}

// toTheEnd is the context of a change. A caller who goes away does not stop it
// half-way, so that the audit log can say what came of it; storage bounds it.
func (c *call) toTheEnd() context.Context { return context.WithoutCancel(c.r.Context()) }

// ServeHTTP answers the request if it is for one of the API's routes, and reports
// whether it was. It never answers other paths. On Caddy's admin endpoint, if the
// configuration says so, a caller is trusted: they may do everything without a token.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request, trusted bool) (ours bool) {
	route, rest := a.find(r.URL.EscapedPath())
	if route == nil && strings.HasPrefix(r.URL.Path, licenseAPI) {
		route, _ = a.find(licenseAPI) // escaped in another way
	}
	if route == nil {
		return false
	}
	if err := a.serve(&call{w: w, r: r, trusted: trusted, rest: rest}, route); err != nil {
		a.fail(w, route.path, err)
	}
	return true
}

// serve checks the method first, then who is calling, and then does the work.
func (a *API) serve(c *call, route *route) error {
	if c.r.ContentLength != 0 {
		c.arriveWithin(bodyTime) // whoever sends it, and whether it is read or not
	}
	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if len(route.methods) == 0 {
		return problem(http.StatusNotFound, "there is no such route")
	}
	endpoint, ok := route.methods[method]
	if !ok {
		allowed := route.allow()
		c.w.Header().Set("Allow", allowed)
		return problem(http.StatusMethodNotAllowed, "method not allowed: expected "+allowed)
	}
	if endpoint.who != anyone {
		if err := a.authenticate(c, endpoint.who); err != nil {
			return err
		}
	}
	c.w.Header().Set("Cache-Control", "no-store")
	if err := endpoint.checkQuery(c.r.URL.RawQuery); err != nil {
		return err
	}
	return endpoint.serve(c)
}

// Services is what the API works on: one configuration's.
type Services struct {
	// Authenticate says whose token a request carries, and refuses callers whom
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
	Revocations *revocation.Registry

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
	Activate func(context.Context, activation.Operation, sso.Request, string, []byte) sso.Response

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
	Signed *active.Record

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

	// Storage is the name of the storage, and the folder if it is one.
	Storage string

	// Changes are the last lines of the audit log that this node wrote, the newest
	// first.
	Changes func() []AuditEntry

	// Hour is what became of requests in the last hour.
	Hour func() Hour
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	At      time.Time `json:"at"`      // zero until it is written
	Actor   string    `json:"actor"`   // who: issuer/subject, or admin-endpoint
	Action  string    `json:"action"`  // what: service_account.create, …
	Target  string    `json:"target"`  // to what: a subject, a license id, …
	Outcome string    `json:"outcome"` // done, refused or, where it is the server's fault, failed

	// Status is that of a service account after it was made or changed: active, inactive
	// or expired.
	Status account.Status `json:"status,omitempty"`
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
	a.services.Audit(AuditEntry{Actor: c.actor(), Action: action, Target: target, Outcome: outcome})
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
