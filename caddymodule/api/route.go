package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// route is one path, or all paths with a prefix, and what can be done there.
// A route without methods is one that is not there, and is not anybody else's.
type route struct {
	path    string
	prefix  bool
	methods map[string]endpoint
}

// endpoint is what one method does, and for whom.
type endpoint struct {
	who   who
	serve func(*call) error
}

// table lists the routes; the first that fits answers.
func (a *API) table() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return []route{
		{path: "/api/v4/sso_url", methods: map[string]endpoint{get: {anyone, a.ssoURL}}},
		{path: "/api/v4/sso_url/", methods: map[string]endpoint{get: {anyone, a.ssoURL}}},
		{path: licenseAPI},
		{path: licenseAPI, prefix: true},
		{path: "/gatehouse/", methods: map[string]endpoint{get: {anyone, a.page}}},
		{path: "/api/status", methods: map[string]endpoint{get: {admins, a.getStatus}}},
		{path: "/api/issuers", methods: map[string]endpoint{get: {admins, a.listIssuers}}},
		{path: "/api/issuers/", prefix: true, methods: map[string]endpoint{post: {admins, a.refreshIssuer}}},
		{path: "/api/tokens/explain", methods: map[string]endpoint{post: {admins, a.explainToken}}},
		{path: "/api/orgs/license/sign", methods: map[string]endpoint{post: {signers, a.signLicense}}},
		{path: "/api/orgs/license", methods: map[string]endpoint{
			get: {anyToken, a.licenseStatus},
			put: {admins, a.putLicense},
		}},
		{path: "/api/orgs/licenses", methods: map[string]endpoint{get: {signers, a.listSigned}}},
		{path: "/api/serverinfo", methods: map[string]endpoint{get: {anyToken, a.serverinfo}}},
		{path: "/api/userinfo", methods: map[string]endpoint{
			get: {anyToken, a.userinfo},
		}},
		{path: "/api/serviceaccounts", methods: map[string]endpoint{
			get:  {admins, a.listAccounts},
			post: {admins, a.createAccount},
		}},
		{path: "/api/serviceaccounts:import", methods: map[string]endpoint{
			post: {admins, a.importAccounts},
		}},
		{path: "/api/serviceaccounts:confirm", methods: map[string]endpoint{
			post: {admins, a.confirmAccounts},
		}},
		{path: "/api/serviceaccounts:repair", methods: map[string]endpoint{
			get:  {admins, a.compareAccounts},
			post: {admins, a.repairAccounts},
		}},
		{path: "/api/serviceaccounts/", prefix: true, methods: map[string]endpoint{
			get: {admins, a.getAccount},
			put: {admins, a.putAccount},
			del: {admins, a.deleteAccount},
		}},
	}
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
