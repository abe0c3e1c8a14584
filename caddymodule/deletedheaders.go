package caddymodule

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// handedOn are the headers that bearer_auth has set for a request, each with the JSON of
// the matchers that a request for which it is set must meet; empty: none.
type handedOn map[string]string

// deletions warns of headers that bearer_auth sets and a directive behind it deletes, as
// request_header does, which sorts behind it. It gives what is set behind the list.
func (p *placement) deletions(list []any, set handedOn, around []string) handedOn {
	byGroup := map[string]handedOn{"": set} // by the group of the route that set them
	for _, entry := range list {
		route := asObject(entry)
		group, _ := route["group"].(string)
		match := matchersOf(route)
		before := make(handedOn)
		for other, names := range byGroup {
			if other == "" || other != group {
				maps.Copy(before, names.among(match))
			}
		}
		here := maps.Clone(before)
		for _, handler := range asList(route["handle"]) {
			p.deletion(asObject(handler), here, inRoute(around, route))
		}
		if route["terminal"] == true {
			continue
		}
		if byGroup[group] = maps.Clone(byGroup[group]); byGroup[group] == nil {
			byGroup[group] = make(handedOn)
		}
		for name, inner := range here {
			if _, known := before[name]; known {
				continue
			}
			if match != "" {
				inner = match
			}
			byGroup[group][name] = inner
		}
	}
	behind := make(handedOn)
	for _, names := range byGroup {
		maps.Copy(behind, names)
	}
	return behind
}

// deletion looks at one handler. What it deletes is not set any more.
func (p *placement) deletion(handler map[string]any, set handedOn, around []string) {
	var request map[string]any
	name, _ := handler["handler"].(string)
	switch name {
	case "bearer_auth":
		for _, header := range asList(handler["headers"]) {
			if name, ok := asObject(header)["name"].(string); ok {
				set[http.CanonicalHeaderKey(name)] = ""
			}
		}
	case "subroute":
		maps.Copy(set, p.deletions(asList(handler["routes"]), set, around))
	case "headers":
		request = asObject(handler["request"])
	case "reverse_proxy":
		request = asObject(asObject(handler["headers"])["request"])
	}
	var gone []string
	for _, pattern := range asList(request["delete"]) {
		for header := range set {
			if text, ok := pattern.(string); ok && deletesHeader(text, header) {
				gone = append(gone, header)
				delete(set, header)
			}
		}
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		p.logger.Warn("headers that bearer_auth sets are deleted again behind it, so that they do not arrive: take the deletion out, as bearer_auth itself removes what clients send under these names; write identity_headers for other names that it is to keep out",
			zap.Strings("headers", gone), zap.String("place", strings.Join(append(slices.Clone(around), name), ", ")))
	}
}

// among are the headers that may be set for requests that meet matchers. Other matchers
// than those of the header are taken to mean other requests.
func (h handedOn) among(match string) handedOn {
	found := make(handedOn)
	for name, own := range h {
		switch {
		case match == "":
			found[name] = own
		case own == "" || own == match:
			found[name] = ""
		}
	}
	return found
}

// matchersOf is the JSON of a route's matchers; empty: there are none.
func matchersOf(route map[string]any) string {
	sets := asList(route["match"])
	if len(sets) == 0 {
		return ""
	}
	text, _ := json.Marshal(sets) // it comes from JSON
	return string(text)
}

// deletesHeader tells whether Caddy's headers handler deletes a header by a pattern, which
// may have a `*` at either end.
func deletesHeader(pattern, header string) bool {
	pattern, header = strings.ToLower(pattern), strings.ToLower(header)
	rest, front := strings.CutPrefix(pattern, "*")
	rest, end := strings.CutSuffix(rest, "*")
	switch {
	case front && end, pattern == "*":
		return strings.Contains(header, rest)
	case front:
		return strings.HasSuffix(header, rest)
	case end:
		return strings.HasPrefix(header, rest)
	}
	return pattern == header
}
