package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// eachHandler shows every handler of the running HTTP app, together with its server and
// the routes around it, outermost first.
func eachHandler(ctx caddy.Context, visit func(*caddyhttp.Server, caddyhttp.MiddlewareHandler, []caddyhttp.Route) error) error {
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
	request := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: make(http.Header)}
	request = caddyhttp.PrepareRequest(request, caddy.NewReplacer(), nil, new(caddyhttp.Server))
	takes := func(matcher any) bool {
		byPath, ok := matcher.(*caddyhttp.MatchPath)
		if value, isValue := matcher.(caddyhttp.MatchPath); isValue {
			byPath, ok = &value, true
		}
		if !ok {
			return true
		}
		matches, err := byPath.MatchWithError(request)
		return err == nil && matches
	}
	return len(route.MatcherSets) == 0 || slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool {
		return !slices.ContainsFunc(set, func(matcher any) bool { return !takes(matcher) })
	})
}

// takesMethod tells whether requests with a method come through the routes, if no more than
// hosts, paths and methods decides about it; else nobody can say so.
func takesMethod(around []caddyhttp.Route, method string) bool {
	for _, route := range around {
		for _, set := range route.MatcherSets {
			for _, matcher := range set {
				switch matcher.(type) {
				case *caddyhttp.MatchHost, *caddyhttp.MatchPath, *caddyhttp.MatchMethod:
				default:
					return false
				}
			}
		}
	}
	methods := methodsOf(around)
	return len(methods) == 0 || slices.Contains(methods, method)
}

// methodsOf are the methods that the routes take; none: one may take any.
func methodsOf(around []caddyhttp.Route) (methods []string) {
	for _, route := range around {
		if len(route.MatcherSets) == 0 {
			continue
		}
		var found []string
		for _, set := range route.MatcherSets {
			at := slices.IndexFunc(set, func(matcher any) bool { _, ok := matcher.(*caddyhttp.MatchMethod); return ok })
			if at < 0 {
				found = nil
				break
			}
			found = append(found, *set[at].(*caddyhttp.MatchMethod)...)
		}
		methods = append(methods, found...)
	}
	return methods
}

// overlap tells whether a request can come through the routes around both of two
// handlers, as far as paths and the alternatives of `handle` have a say.
func overlap(a, b []caddyhttp.Route) bool {
	for i := range min(len(a), len(b)) {
		if &a[i].Handlers[0] != &b[i].Handlers[0] {
			if a[i].Group != "" && a[i].Group == b[i].Group {
				return false
			}
			break
		}
	}
	all := append(slices.Clone(a), b...)
	for _, path := range append(samplePaths(all), "/") {
		if !slices.ContainsFunc(all, func(route caddyhttp.Route) bool { return !letsPathThrough(route, path) }) {
			return true
		}
	}
	return false
}

// samplePaths are paths that the routes' matchers speak of.
func samplePaths(routes []caddyhttp.Route) (paths []string) {
	for _, route := range routes {
		for _, set := range route.MatcherSets {
			for _, matcher := range set {
				switch m := matcher.(type) {
				case *caddyhttp.MatchPath:
					paths = append(paths, *m...)
				case caddyhttp.MatchPath:
					paths = append(paths, m...)
				}
			}
		}
	}
	for i := range paths {
		paths[i] = strings.ReplaceAll(paths[i], "*", "x")
	}
	return paths
}

// seesAuthorization tells whether a matcher on the way looks at the Authorization header,
// as those do that tell passwords from tokens.
func seesAuthorization(around []caddyhttp.Route) bool {
	sees := func(set caddyhttp.MatcherSet) bool {
		return slices.ContainsFunc(set, func(matcher any) bool {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHeader:
				return len((*m)["Authorization"]) > 0
			case *caddyhttp.MatchHeaderRE:
				return (*m)["Authorization"] != nil
			}
			return false
		})
	}
	return slices.ContainsFunc(around, func(route caddyhttp.Route) bool {
		return slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool {
			return sees(set) || slices.ContainsFunc(set, func(matcher any) bool {
				not, ok := matcher.(*caddyhttp.MatchNot)
				return ok && slices.ContainsFunc(not.MatcherSets, sees)
			})
		})
	})
}

// routeHosts are the hosts that a route takes; narrows is false if it takes any.
func routeHosts(route caddyhttp.Route) (hosts []string, narrows bool) {
	for _, set := range route.MatcherSets {
		byHost := false
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				hosts, byHost = append(hosts, *m...), true
			case caddyhttp.MatchHost:
				hosts, byHost = append(hosts, m...), true
			}
		}
		if !byHost {
			return nil, false
		}
	}
	return hosts, len(route.MatcherSets) > 0
}

// asJSON gives routes as they are configured, whether they are made by now or not.
func asJSON(list caddyhttp.RouteList) (routes []any) {
	for _, route := range list {
		shown := map[string]any{"group": route.Group, "terminal": route.Terminal}
		var sets, handlers []any
		for _, set := range route.MatcherSetsRaw {
			sets = append(sets, decoded(set))
		}
		for _, set := range route.MatcherSets {
			sets = append(sets, matchersAsJSON(set))
		}
		for _, handler := range route.HandlersRaw {
			handlers = append(handlers, decoded(handler))
		}
		for _, handler := range route.Handlers {
			handlers = append(handlers, handlerAsJSON(handler))
		}
		shown["match"], shown["handle"] = sets, handlers
		routes = append(routes, shown)
	}
	return routes
}

// handlerAsJSON shows a handler that is made already, and with it the routes inside,
// which are no part of its JSON any more.
func handlerAsJSON(handler caddyhttp.MiddlewareHandler) any {
	shown := asObject(decoded(handler))
	if shown == nil {
		shown = make(map[string]any)
	}
	responses := func(list []caddyhttp.ResponseHandler) (all []any) {
		for _, one := range list {
			all = append(all, map[string]any{"routes": asJSON(one.Routes)})
		}
		return all
	}
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		shown["routes"] = asJSON(h.Routes)
		if h.Errors != nil {
			shown["errors"] = map[string]any{"routes": asJSON(h.Errors.Routes)}
		}
	case *reverseproxy.Handler:
		shown["handle_response"] = responses(h.HandleResponse)
	case *intercept.Intercept:
		shown["handle_response"] = responses(h.HandleResponse)
	}
	if module, ok := handler.(caddy.Module); ok {
		shown["handler"] = module.CaddyModule().ID.Name()
	}
	return shown
}

func matchersAsJSON(set caddyhttp.MatcherSet) any {
	shown := make(map[string]any)
	for _, matcher := range set {
		module, ok := matcher.(caddy.Module)
		if !ok {
			continue
		}
		name := module.CaddyModule().ID.Name()
		shown[name] = decoded(matcher)
		if not, ok := matcher.(*caddyhttp.MatchNot); ok {
			var sets []any
			for _, inner := range not.MatcherSets {
				sets = append(sets, matchersAsJSON(inner))
			}
			shown[name] = sets
		}
	}
	return shown
}

// decoded is a value as JSON has it; nil if it has none.
func decoded(value any) (tree any) {
	if text, err := json.Marshal(value); err == nil {
		_ = json.Unmarshal(text, &tree)
	}
	return tree
}

func asObject(tree any) map[string]any {
	object, _ := tree.(map[string]any)
	return object
}

func asList(tree any) []any {
	list, _ := tree.([]any)
	return list
}

// eachObject visits all objects in a tree.
func eachObject(tree any, visit func(map[string]any)) {
	switch node := tree.(type) {
	case map[string]any:
		visit(node)
		for _, inner := range node {
			eachObject(inner, visit)
		}
	case []any:
		for _, inner := range node {
			eachObject(inner, visit)
		}
	}
}

// eachText visits all texts in a tree, and the names of members, too.
func eachText(tree any, visit func(string)) {
	switch node := tree.(type) {
	case string:
		visit(node)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(node)) {
			visit(key)
			eachText(node[key], visit)
		}
	case []any:
		for _, inner := range node {
			eachText(inner, visit)
		}
	}
}
