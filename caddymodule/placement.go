package caddymodule

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
)

// checkPlacement looks at all routes of the HTTP app while they are being made, so that
// `caddy validate` sees what it finds: placeholders of Gatehouse that are misspelt, and
// placeholders and matchers principal that stand in front of bearer_auth, where they
// know of nobody. What is certain is an error, and what is only probable a warning.
//
// Each module that brings such placeholders asks for it, and the first one's turn has the
// most to see: its own routes are as they were configured, and what was made before holds
// nothing of Gatehouse.
func checkPlacement(ctx caddy.Context) error {
	modules := ctx.Modules()
	if len(modules) == 0 {
		return nil
	}
	app, ok := modules[0].(*caddyhttp.App)
	if !ok {
		return nil // outside of a server's routes
	}
	if gatehouse, err := configuredApp(ctx); err == nil {
		if gatehouse.placed {
			return nil
		}
		gatehouse.placed = true
	}
	p := placement{logger: ctx.Logger()}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		p.server(name, app.Servers[name])
	}
	switch len(p.mistakes) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s", p.mistakes[0])
	}
	return fmt.Errorf("%d mistakes: %s", len(p.mistakes), strings.Join(p.mistakes, "; "))
}

// placement is one look at the routes of an app. Routes are decoded JSON.
type placement struct {
	logger   *zap.Logger
	mistakes []string

	// What the routes of one server have in common.
	named  []any               // routes to be invoked
	others bool                // other handlers may fill in http.auth.user
	mapped map[string]struct{} // placeholders that the handler map defines
}

func (p *placement) server(name string, server *caddyhttp.Server) {
	routes, named, failed := asJSON(server.Routes), []any{}, []any{}
	for _, route := range server.NamedRoutes {
		named = append(named, asJSON(caddyhttp.RouteList{*route})...)
	}
	if server.Errors != nil {
		failed = asJSON(server.Errors.Routes)
	}
	p.named, p.others, p.mapped = named, false, make(map[string]struct{})
	for _, list := range [][]any{routes, named, failed} {
		eachObject(list, func(handler map[string]any) {
			p.others = p.others || authenticatesOtherwise(handler)
			for _, destination := range asList(handler["destinations"]) {
				p.mapped[strings.Trim(fmt.Sprint(destination), "{}")] = struct{}{}
			}
		})
	}
	at := []string{"server " + name}
	p.deletions(routes, nil, at)
	p.routes(routes, flow{}, at)
	p.routes(named, flow{ran: true}, at) // who invokes them is not followed
	p.routes(failed, flow{ran: true}, append(at, "handle_errors"))
}

// flow is what may happen to a request before and after a place.
type flow struct {
	ran   bool // something that finds out who is calling may have run before
	later bool // and something may run later
}

// routes looks at a list of routes, and tells whether a caller may be known behind it.
func (p *placement) routes(list []any, f flow, around []string) (ran bool) {
	before := map[string]bool{"": f.ran} // whether something has run, by the group of its route
	may := make([]bool, len(list))
	for i, route := range list {
		may[i] = p.mayAuthenticate(route)
	}
	for i, entry := range list {
		route := asObject(entry)
		group, _ := route["group"].(string)
		here := flow{ran: f.ran, later: f.later}
		for other, did := range before {
			here.ran = here.ran || did && (other == "" || other != group)
		}
		if route["terminal"] == true {
			here.later = false
		} else {
			for j := i + 1; j < len(list) && !here.later; j++ {
				here.later = may[j] && (group == "" || asObject(list[j])["group"] != group)
			}
		}
		at := inRoute(around, route)
		handlers := asList(route["handle"])
		p.matchers(route["match"], flow{here.ran, here.later || may[i]}, at)
		after := here.ran
		for j, handler := range handlers {
			after = p.handler(asObject(handler), flow{after, here.later || p.mayAuthenticate(handlers[j+1:])}, at)
		}
		if after && route["terminal"] != true {
			before[group] = before[group] || after && !here.ran
		}
	}
	return slices.Contains(slices.Collect(maps.Values(before)), true)
}

// matchers looks at the matchers of a route.
func (p *placement) matchers(sets any, f flow, at []string) {
	asked := false
	eachObject(sets, func(set map[string]any) {
		_, named := set["principal"]
		expression, written := set["expression"]
		asked = asked || named || written && principalCall.MatchString(fmt.Sprint(expression))
	})
	if !f.ran && asked {
		p.mistake(at, "principal: no bearer_auth stands in front of it: put it behind one, inside a `route` block if the directive of the matcher sorts before bearer_auth")
	}
	eachText(sets, func(text string) { p.text(text, f, true, at) })
}

// handler looks at one handler, and tells whether a caller may be known behind it.
func (p *placement) handler(handler map[string]any, f flow, around []string) (ran bool) {
	name, _ := handler["handler"].(string)
	at := append(slices.Clone(around), cmp.Or(directives[name], name))
	inner := maps.Clone(handler)
	switch name {
	case "bearer_auth": // its header values are checked where they are read
		return true
	case "subroute":
		ran = p.routes(asList(handler["routes"]), f, around)
		p.routes(asList(asObject(handler["errors"])["routes"]), flow{ran: true}, append(around, "handle_errors"))
		return ran || f.ran
	case "reverse_proxy", "intercept":
		for _, response := range asList(handler["handle_response"]) {
			// What intercept intercepts comes from further behind.
			ran = p.routes(asList(asObject(response)["routes"]), flow{f.ran || name == "intercept", f.later}, at) && name != "intercept" || ran
		}
		delete(inner, "handle_response")
	case "headers":
		response := asObject(handler["response"])
		if response["deferred"] == true || response["require"] != nil {
			eachText(response, func(text string) { p.text(text, f, false, at) })
			delete(inner, "response")
		}
	}
	eachText(inner, func(text string) { p.text(text, f, slices.Contains(atOnce, name), at) })
	return ran || f.ran || p.mayAuthenticate(handler)
}

// atOnce are the handlers that fill in placeholders before they call the next one.
var atOnce = []string{"error", "file_server", "headers", "reverse_proxy", "rewrite", "static_response", "vars"}

// text looks at the placeholders of one text.
func (p *placement) text(text string, f flow, atOnce bool, at []string) {
	for _, found := range ourPlaceholder.FindAllStringSubmatchIndex(text, -1) {
		name := text[found[2]:found[3]]
		if _, defined := p.mapped[name]; defined || found[0] > 0 && text[found[0]-1] == '\\' {
			continue
		}
		user := strings.HasPrefix(name, userPlaceholder)
		switch right := expectedPlaceholder(name); {
		case right != "" && p.others && !strings.HasPrefix(name, licensing.PlaceholderPrefix):
			p.logger.Warn("a placeholder looks like one of Gatehouse's and stands for nothing there, unless another handler fills it in: docs/matchers-and-placeholders.md lists them",
				zap.String("placeholder", "{"+name+"}"), zap.String("place", strings.Join(at, ", ")), zap.String("expected", right))
		case right != "":
			p.mistake(at, fmt.Sprintf("found {%s}, expected %s", name, right))
		case user && atOnce && !f.ran && f.later:
			p.mistake(at, fmt.Sprintf("found {%s} in front of bearer_auth, where it is always empty: put it behind, inside a `route` block if its directive sorts before bearer_auth", name))
		}
	}
}

func (p *placement) mistake(at []string, what string) {
	mistake := strings.Join(at, ", ") + ": " + what
	if !slices.Contains(p.mistakes, mistake) {
		p.mistakes = append(p.mistakes, mistake)
	}
}

// mayAuthenticate tells whether anything in a handler, a route, or a list of them may
// find out who is calling. A handler that nothing is known of may.
func (p *placement) mayAuthenticate(tree any) (found bool) {
	eachObject(tree, func(handler map[string]any) {
		name, _ := handler["handler"].(string)
		switch {
		case name == "":
		case name == "bearer_auth", name == "authentication", !slices.Contains(knownHandlers, name):
			found = true
		case name == "invoke":
			found = found || len(p.named) > 0
		}
	})
	return found
}

// authenticatesOtherwise tells whether a handler may fill in placeholders under
// http.auth.user that neither Gatehouse nor basic_auth knows.
func authenticatesOtherwise(handler map[string]any) bool {
	name, _ := handler["handler"].(string)
	if name != "authentication" {
		return name != "" && !slices.Contains(knownHandlers, name)
	}
	for provider := range asObject(handler["providers"]) {
		if provider != "http_basic" && provider != "bearer" {
			return true
		}
	}
	return false
}

// knownHandlers are those of Caddy and Gatehouse, of which none but bearer_auth and
// authentication finds out who is calling.
var knownHandlers = []string{
	"acme_server", "authentication", "copy_response", "copy_response_headers", "encode", "error", "file_server",
	"headers", "intercept", "invoke", "log_append", "map", "metrics", "push", "request_body", "reverse_proxy", "rewrite",
	"static_response", "subroute", "templates", "timeouts", "tracing", "vars",
	"bearer_auth", "gatehouse_api", "gatehouse_identity_headers", "gatehouse_resource_metadata", "require_license",
}

// directives are the names in a Caddyfile of handlers that have another one in JSON.
var directives = map[string]string{"static_response": "respond", "headers": "header"}

// inRoute adds the hosts and paths that a route takes to a place; hosts say more than
// the server's name.
func inRoute(around []string, route map[string]any) []string {
	at := slices.Clone(around)
	for _, set := range asList(route["match"]) {
		if hosts := asList(asObject(set)["host"]); len(hosts) > 0 {
			at = []string{"site"}
			for _, host := range hosts {
				at[0] += fmt.Sprint(" ", host)
			}
		}
		for _, path := range asList(asObject(set)["path"]) {
			at = append(at, fmt.Sprint("path ", path))
		}
	}
	return at
}

// principalCall is the matcher in an expression.
var principalCall = regexp.MustCompile(`\bprincipal\(`)
