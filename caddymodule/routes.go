package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// eachHandler shows every handler of the running HTTP app, together with the
// routes around it, outermost first.
func eachHandler(ctx caddy.Context, visit func(caddyhttp.MiddlewareHandler, []caddyhttp.Route) error) error {
	return eachServersHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		return visit(handler, around)
	})
}

// eachServersHandler shows with each handler the server it belongs to.
func eachServersHandler(ctx caddy.Context, visit func(*caddyhttp.Server, caddyhttp.MiddlewareHandler, []caddyhttp.Route) error) error {
	app, err := ctx.AppIfConfigured("http")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		here := func(handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
			return visit(server, handler, around)
		}
		if err := walkRoutes(server.Routes, nil, here); err != nil {
			return err
		}
		for _, route := range server.NamedRoutes {
			if err := walkRoutes(caddyhttp.RouteList{*route}, nil, here); err != nil {
				return err
			}
		}
	}
	return nil
}

func walkRoutes(routes caddyhttp.RouteList, around []caddyhttp.Route, visit func(caddyhttp.MiddlewareHandler, []caddyhttp.Route) error) error {
	for _, route := range routes {
		inside := append(around[:len(around):len(around)], route)
		for _, handler := range route.Handlers {
			if err := visit(handler, inside); err != nil {
				return err
			}
			if subroute, ok := handler.(*caddyhttp.Subroute); ok {
				if err := walkRoutes(subroute.Routes, inside, visit); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unprovisionedRoutes gives those routes of a module whose handlers are being made
// now, and which may hold a handler of a name. Caddy first makes the matchers of a
// list of routes, and then the handlers, route by route.
func unprovisionedRoutes(module caddy.Module, handler string) (found []caddyhttp.Route) {
	var lists []caddyhttp.RouteList
	switch m := module.(type) {
	case *caddyhttp.Subroute:
		lists = append(lists, m.Routes)
		if m.Errors != nil {
			lists = append(lists, m.Errors.Routes)
		}
	case *caddyhttp.App:
		for _, server := range m.Servers {
			lists = append(lists, server.Routes)
			if server.Errors != nil {
				lists = append(lists, server.Errors.Routes)
			}
			for _, route := range server.NamedRoutes {
				lists = append(lists, caddyhttp.RouteList{*route})
			}
		}
	}
	for _, list := range lists {
		at := slices.IndexFunc(list, func(r caddyhttp.Route) bool { return len(r.Handlers) == 0 && len(r.HandlersRaw) > 0 })
		if at >= 0 && slices.ContainsFunc(list[at].HandlersRaw, func(raw json.RawMessage) bool { return bytes.Contains(raw, []byte(handler)) }) {
			found = append(found, list[at])
		}
	}
	return found
}

func hostsOf(around []caddyhttp.Route) (hosts []string) {
	for _, route := range around {
		if names, narrows := routeHosts(route); narrows {
			hosts = append(hosts, names...)
		}
	}
	return hosts
}

// letsPathThrough tells whether a route takes requests with a path, as far as
// its path matchers have a say: any of its matcher sets will do.
func letsPathThrough(route caddyhttp.Route, path string) bool {
	if len(route.MatcherSets) == 0 {
		return true
	}
	return slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool { return setLetsPathThrough(set, path) })
}

func setLetsPathThrough(set caddyhttp.MatcherSet, path string) bool {
	request := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: make(http.Header)}
	request = caddyhttp.PrepareRequest(request, caddy.NewReplacer(), nil, new(caddyhttp.Server))
	for _, matcher := range set {
		byPath, ok := matcher.(*caddyhttp.MatchPath)
		if value, isValue := matcher.(caddyhttp.MatchPath); isValue {
			byPath, ok = &value, true
		}
		if !ok {
			continue
		}
		if matches, err := byPath.MatchWithError(request); err != nil || !matches {
			return false
		}
	}
	return true
}

// routeHosts are the hosts that a route takes; narrows is false if it takes any.
func routeHosts(route caddyhttp.Route) (hosts []string, narrows bool) {
	for _, set := range route.MatcherSets {
		inSet, byHost := setHosts(set)
		if !byHost {
			return nil, false
		}
		hosts = append(hosts, inSet...)
	}
	return hosts, len(route.MatcherSets) > 0
}

func setHosts(set caddyhttp.MatcherSet) (hosts []string, byHost bool) {
	for _, matcher := range set {
		switch m := matcher.(type) {
		case *caddyhttp.MatchHost:
			return *m, true
		case caddyhttp.MatchHost:
			return m, true
		}
	}
	return nil, false
}
