package caddymodule

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// sites are the site addresses that stand in front of require_license.
type sites struct {
	names []string // hosts as configured, sorted; without those that are not known
	open  bool     // some site takes any host
}

// findSites looks for them in the routes of the running HTTP app.
func findSites(ctx caddy.Context) (*sites, error) {
	found := new(sites)
	err := eachHandler(ctx, func(handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		if _, ok := handler.(*RequireLicense); ok {
			found.add(around)
		}
		return nil
	})
	slices.Sort(found.names)
	found.names = slices.Compact(found.names)
	return found, err
}

// add notes the hosts of the innermost route that asks for some.
func (s *sites) add(around []caddyhttp.Route) {
	for _, route := range slices.Backward(around) {
		hosts, narrows := routeHosts(route)
		if !narrows {
			continue
		}
		for _, name := range hosts {
			if !hasPlaceholder(name) {
				s.names = append(s.names, strings.ToLower(name))
			}
		}
		return
	}
	s.open = true
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

// pattern is what a site's address is as a pattern of a license. An address with
// a wildcard elsewhere than in front may be any host.
func sitePattern(name string) host.Pattern {
	pattern, err := host.Parse(name)
	if err != nil {
		pattern, _ = host.Parse("*")
	}
	return pattern
}

// uncovered are the addresses that a license does not wholly cover.
func (s *sites) uncovered(covers *host.Matcher) []string {
	return slices.DeleteFunc(slices.Clone(s.names), func(name string) bool {
		return covers.Covers(sitePattern(name))
	})
}

// served tells whether a license is of any use here: it covers a site, or
// something that a site with a wildcard takes. Where a site takes any host, or
// none is known, it is.
func (s *sites) served(standing *license.Standing) bool {
	if s.open || len(s.names) == 0 {
		return true
	}
	patterns := make([]host.Pattern, 0, len(s.names))
	for _, name := range s.names {
		pattern := sitePattern(name)
		if standing.Hosts().Covers(pattern) {
			return true
		}
		patterns = append(patterns, pattern)
	}
	taken := host.NewMatcher(patterns...)
	for _, text := range standing.License().Payload.AllowedHosts {
		if pattern, err := host.Parse(text); err == nil && taken.Covers(pattern) {
			return true
		}
	}
	return false
}

// maxShown bounds how many sites an error names.
const maxShown = 10

// shown are the sites that an error names.
func (s *sites) shown() []string {
	if len(s.names) <= maxShown {
		return s.names
	}
	return append(slices.Clone(s.names[:maxShown]), fmt.Sprintf("and %d more", len(s.names)-maxShown))
}

// main is the host that a status is about where none is asked for: one that is
// covered if there is any, and empty where no whole name is known.
func (s *sites) main(covers *host.Matcher) string {
	first := ""
	for _, name := range s.names {
		if strings.Contains(name, "*") {
			continue
		}
		name = authority(name)
		if covers.Match(name) {
			return name
		}
		if first == "" {
			first = name
		}
	}
	return first
}

// authority writes a site's host as a Host header has it: an IPv6 address in
// brackets.
func authority(name string) string {
	if strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
		return "[" + name + "]"
	}
	return name
}

// compare warns once of the sites that a license does not cover, and of patterns
// of its own that are of no use.
func (l licenseLog) compare(standing *license.Standing) {
	behind := l.sites.Load()
	held := genuine(standing)
	if behind == nil || held == nil {
		return
	}
	missed := behind.uncovered(standing.Hosts())
	about := held.Signature + strings.Join(missed, " ")
	if before := l.compared.Swap(&about); before != nil && *before == about {
		return
	}
	if len(missed) > 0 {
		l.logger.Warn("the license does not cover all sites behind require_license", zap.Strings("sites", missed))
	}
	for _, err := range standing.RefusedHosts() {
		l.logger.Warn("a host in the license is malformed and matches nothing", zap.Error(err))
	}
}

// Standing is where the deployment stands.
func (l *licensing) Standing() *license.Standing { return l.keeper.Standing() }

// Host is the host that a status is about where none is asked for.
func (l *licensing) Host() string {
	behind := l.sites.Load()
	if behind == nil {
		return ""
	}
	return behind.main(l.keeper.Standing().Hosts())
}

// Install makes a license the one in force on all nodes, if it is of use here.
func (l *licensing) Install(ctx context.Context, data []byte, forHost string) error {
	if l.keeper.Source().Configured() {
		return active.ErrConfigured
	}
	found := l.verifier.Open(data)
	if err := found.Err(); err != nil {
		return err
	}
	if err := l.checkUse(found, forHost); err != nil {
		return err
	}
	return l.keeper.Install(ctx, data)
}

func (l *licensing) checkUse(found *license.Standing, forHost string) error {
	if forHost != "" {
		pattern, err := host.Parse(forHost)
		if found.Hosts().Match(forHost) || err == nil && found.Hosts().Covers(pattern) {
			return nil
		}
		return &license.Error{Reason: license.ReasonHost, Detail: fmt.Sprintf("the license does not cover the host %.255q", forHost)}
	}
	behind := l.sites.Load()
	if behind == nil || behind.served(found) {
		return nil
	}
	return &license.Error{
		Reason: license.ReasonHost,
		Detail: "the license covers none of the hosts behind require_license: " + strings.Join(behind.shown(), ", "),
	}
}

// Interface guards
var _ api.Licensing = (*licensing)(nil)
