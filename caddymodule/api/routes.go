package api

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
)

// route is one path, or all paths with a prefix, and what can be done there. A route
// without methods answers 404: nobody else may serve its paths.
type route struct {
	path    string
	prefix  bool
	methods map[string]endpoint
}

// endpoint is what one method does, for whom, and with which parameters in the query.
type endpoint struct {
	who    who
	serve  func(*call) error
	params []string // sorted
}

// anyParams are those of an endpoint that judges its query itself, or has no use for it.
var anyParams = []string{"*"}

// table lists the routes; the first that fits answers.
func (a *API) table() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return append(a.activationRoutes(), []route{
		{path: "/api/v4/sso_url", methods: map[string]endpoint{get: {anyone, a.ssoURL, anyParams}}},
		{path: "/api/v4/sso_url/", methods: map[string]endpoint{get: {anyone, a.ssoURL, anyParams}}},
		{path: "/api/activations", methods: map[string]endpoint{get: {admins, a.listActivations, []string{"account", "after", "limit", "product"}}}},
		{path: "/api/activations/", prefix: true, methods: map[string]endpoint{del: {admins, a.deleteActivation, nil}}},
		{path: licenseAPI},
		{path: licenseAPI, prefix: true},
		{path: "/gatehouse/", methods: map[string]endpoint{get: {anyone, a.page, anyParams}}},
		{path: "/gatehouse/issuers/", prefix: true, methods: map[string]endpoint{post: {anyone, a.receiveEvent, nil}}},
		{path: "/api/status", methods: map[string]endpoint{get: {admins, a.getStatus, nil}}},
		{path: "/api/issuers", methods: map[string]endpoint{get: {admins, a.listIssuers, nil}}},
		{path: "/api/issuers/", prefix: true, methods: map[string]endpoint{post: {admins, a.refreshIssuer, nil}}},
		{path: "/api/tokens/explain", methods: map[string]endpoint{post: {admins, a.explainToken, nil}}},
		{path: "/api/orgs/license/sign", methods: map[string]endpoint{post: {signers, a.signLicense, nil}}},
		{path: "/api/orgs/license", methods: map[string]endpoint{
			get: {anyToken, a.licenseStatus, []string{"host"}},
			put: {admins, a.putLicense, []string{"host"}},
		}},
		{path: "/api/orgs/license/instance", methods: map[string]endpoint{post: {admins, a.licenseInstance, nil}}},
		{path: "/api/orgs/license/offline-request", methods: map[string]endpoint{post: {admins, a.offlineRequest, nil}}},
		{path: "/api/orgs/license/offline-response", methods: map[string]endpoint{post: {admins, a.offlineResponse, nil}}},
		{path: "/api/orgs/license/usage", methods: map[string]endpoint{get: {admins, a.licenseUsage, nil}}},
		{path: "/api/orgs/licenses", methods: map[string]endpoint{get: {signers, a.listSigned, []string{"after", "limit"}}}},
		{path: "/api/serverinfo", methods: map[string]endpoint{get: {anyToken, a.serverinfo, []string{"host"}}}},
		{path: "/api/userinfo", methods: map[string]endpoint{get: {anyToken, a.userinfo, nil}}},
		{path: "/api/revocations", methods: map[string]endpoint{
			get:  {admins, a.listRevocations, []string{"after", "after_id", "issuer", "limit", "search"}},
			post: {admins, a.revoke, nil},
		}},
		{path: "/api/revocations/", prefix: true, methods: map[string]endpoint{del: {admins, a.deleteRevocation, nil}}},
		{path: "/api/serviceaccounts", methods: map[string]endpoint{
			get:  {admins, a.listAccounts, []string{"after", "after_issuer", "issuer", "limit", "search"}},
			post: {admins, a.createAccount, nil},
		}},
		{path: "/api/serviceaccounts:import", methods: map[string]endpoint{post: {admins, a.importAccounts, []string{"mode"}}}},
		{path: "/api/serviceaccounts:confirm", methods: map[string]endpoint{post: {admins, a.confirmAccounts, nil}}},
		{path: "/api/serviceaccounts:repair", methods: map[string]endpoint{
			get:  {admins, a.compareAccounts, nil},
			post: {admins, a.repairAccounts, nil},
		}},
		{path: "/api/serviceaccounts/", prefix: true, methods: map[string]endpoint{
			get: {admins, a.getAccount, []string{"issuer"}},
			put: {admins, a.putAccount, []string{"issuer"}},
			del: {admins, a.deleteAccount, []string{"issuer"}},
		}},
	}...)
}

// activationRoutes are those of licensed applications, each with and without a slash.
func (a *API) activationRoutes() (routes []route) {
	for name, op := range map[string]activation.Operation{
		"activate_license": activation.Activate, "check_license": activation.Check, "deactivate_license": activation.Deactivate,
		"activate_offline": activation.ActivateOffline, "deactivate_offline": activation.DeactivateOffline,
	} {
		method := http.MethodPost
		if op == activation.Check {
			method = http.MethodGet
		}
		methods := map[string]endpoint{method: {anyone, a.activation(op), anyParams}}
		routes = append(routes, route{path: licenseAPI + name, methods: methods}, route{path: licenseAPI + name + "/", methods: methods})
	}
	return routes
}

// find gives the route of an escaped path, and what follows its prefix.
func (a *API) find(path string) (*route, string) {
	for i := range a.routes {
		route := &a.routes[i]
		rest, found := strings.CutPrefix(path, route.path)
		if found && route.prefix == (rest != "") {
			return route, rest
		}
	}
	return nil, ""
}

// checkQuery refuses parameters that the endpoint does not know: without the one that
// was meant, the answer would be another.
func (e *endpoint) checkQuery(raw string) error {
	if raw == "" || slices.Equal(e.params, anyParams) {
		return nil
	}
	given, err := url.ParseQuery(raw)
	if err != nil {
		return problem(http.StatusBadRequest, "the query is not encoded well: expected name=value, joined by & and percent-encoded")
	}
	known := "none"
	if len(e.params) > 0 {
		known = strings.Join(e.params, ", ")
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(e.params, name) {
			return problem(http.StatusBadRequest, fmt.Sprintf("query: found the parameter %.60q, expected %s", name, known))
		}
		if n := len(given[name]); n > 1 {
			return problem(http.StatusBadRequest, fmt.Sprintf("%s: found %d values, expected one", name, n))
		}
	}
	return nil
}

// allow is the Allow header's value.
func (r *route) allow() string {
	methods := slices.Collect(maps.Keys(r.methods))
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}
