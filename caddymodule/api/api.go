package api

import (
	"net/http"
	"strings"
	"sync"
)

// Place is where a request reached the API.
type Place struct {
	// AdminEndpoint tells Caddy's admin endpoint from a site.
	AdminEndpoint bool

	// Trusted lets the caller act as an administrator without a token. Only
	// ever true on the admin endpoint, where the configuration says so.
	Trusted bool
}

// API answers the routes. It is safe for concurrent use.
type API struct {
	services Services
	routes   []route

	importing   sync.Mutex
	ssoFailures seldom
}

// New makes the API of one configuration.
func New(services Services) *API {
	a := &API{services: services}
	a.routes = a.table()
	return a
}

// ServeHTTP answers the request if it is for one of the API's routes, and tells
// whether it was. It never answers other paths.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request, place Place) (ours bool) {
	path := r.URL.EscapedPath()
	route, rest := a.find(path)
	if route == nil && strings.HasPrefix(r.URL.Path, licenseAPI) {
		route, _ = a.find(licenseAPI) // spelled in another way
	}
	if route == nil {
		return false
	}
	if err := a.serve(w, r, place, route, rest); err != nil {
		a.fail(w, route.path, err)
	}
	return true
}

// serve checks the method first, then who is calling, and then does the work.
func (a *API) serve(w http.ResponseWriter, r *http.Request, place Place, route *route, rest string) error {
	call := &call{w: w, r: r, place: place, rest: rest}
	if r.ContentLength != 0 {
		call.arriveWithin(bodyTime) // whoever sends it, and whether it is read or not
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if len(route.methods) == 0 {
		return problem(http.StatusNotFound, "there is no such route")
	}
	endpoint, ok := route.methods[method]
	if !ok {
		w.Header().Set("Allow", route.allow())
		return problem(http.StatusMethodNotAllowed, "method not allowed: expected "+route.allow())
	}
	if endpoint.who != anyone {
		caller, err := a.authenticate(w, r, place, endpoint.who)
		if err != nil {
			return err
		}
		call.caller = caller
	}
	w.Header().Set("Cache-Control", "no-store")
	return endpoint.serve(call)
}

// call is one request to the API.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	place  Place
	caller Caller
	rest   string // of the escaped path, behind the route's prefix
}

// find gives the route of an escaped path, and what follows its prefix.
func (a *API) find(path string) (*route, string) {
	for i := range a.routes {
		route := &a.routes[i]
		if !route.prefix {
			if path == route.path {
				return route, ""
			}
			continue
		}
		if rest, ok := strings.CutPrefix(path, route.path); ok && rest != "" {
			return route, rest
		}
	}
	return nil, ""
}
