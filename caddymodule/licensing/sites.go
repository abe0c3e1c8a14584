package licensing

import (
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// Sites are the site addresses that stand in front of require_license.
type Sites struct {
	names    []string       // hosts as configured, sorted; without those that are not known
	patterns []host.Pattern // what the names are as patterns of a license
	open     bool           // some site takes any host
}

// NewSites gives the sites of these hosts, as they are configured. Anywhere says that
// some site takes any host.
func NewSites(hosts []string, anywhere bool) *Sites {
	s := &Sites{open: anywhere}
	for _, name := range hosts {
		if !parse.HasPlaceholder(name) {
			s.names = append(s.names, strings.ToLower(name))
		}
	}
	slices.Sort(s.names)
	s.names = slices.Compact(s.names)
	for _, name := range s.names {
		pattern, err := host.Parse(name)
		if err != nil { // a wildcard elsewhere than in front: it may be any host
			pattern, _ = host.Parse("*")
		}
		s.patterns = append(s.patterns, pattern)
	}
	return s
}

// served reports whether a license is of any use here: it covers a site, or
// something that a site with a wildcard takes. Where a site takes any host, or
// none is known, it is.
func (s *Sites) served(validity *license.Validity) bool {
	if s.open || len(s.names) == 0 {
		return true
	}
	if slices.ContainsFunc(s.patterns, validity.Hosts().Covers) {
		return true
	}
	taken := host.NewMatcher(s.patterns...)
	for _, text := range validity.License().Payload.AllowedHosts {
		if pattern, err := host.Parse(text); err == nil && taken.Covers(pattern) {
			return true
		}
	}
	return false
}

// Host is the host that a status is about where none is asked for: one that is covered if
// there is any, and empty where no whole name is known.
func (l *Licensing) Host() string {
	sites, covers, first := l.sites.Load(), l.keeper.Validity().Hosts(), ""
	if sites == nil {
		return ""
	}
	for _, name := range sites.names {
		if strings.Contains(name, "*") {
			continue
		}
		if strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
			name = "[" + name + "]" // an IPv6 address, as a Host header has it
		}
		if covers.Match(name) {
			return name
		}
		if first == "" {
			first = name
		}
	}
	return first
}

// checkUse refuses a license that is of no use here.
func (l *Licensing) checkUse(found *license.Validity, forHost string) error {
	if forHost != "" {
		pattern, err := host.Parse(forHost)
		if found.Hosts().Match(forHost) || err == nil && found.Hosts().Covers(pattern) {
			return nil
		}
		return license.UncoveredHost(forHost)
	}
	sites := l.sites.Load()
	if sites == nil || sites.served(found) {
		return nil
	}
	return license.UncoveredHosts(sites.names)
}
