package licensing

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// Sites are the site addresses that stand in front of require_license.
type Sites struct {
	names []string // hosts as configured, sorted; without those that are not known
	open  bool     // some site takes any host
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
	return s
}

// sitePattern is what a site's address is as a pattern of a license. An address with
// a wildcard elsewhere than in front may be any host.
func sitePattern(name string) host.Pattern {
	pattern, err := host.Parse(name)
	if err != nil {
		pattern, _ = host.Parse("*")
	}
	return pattern
}

// served reports whether a license is of any use here: it covers a site, or
// something that a site with a wildcard takes. Where a site takes any host, or
// none is known, it is.
func (s *Sites) served(validity *license.Validity) bool {
	if s.open || len(s.names) == 0 {
		return true
	}
	patterns := make([]host.Pattern, 0, len(s.names))
	for _, name := range s.names {
		pattern := sitePattern(name)
		if validity.Hosts().Covers(pattern) {
			return true
		}
		patterns = append(patterns, pattern)
	}
	taken := host.NewMatcher(patterns...)
	for _, text := range validity.License().Payload.AllowedHosts {
		if pattern, err := host.Parse(text); err == nil && taken.Covers(pattern) {
			return true
		}
	}
	return false
}

// maxShown bounds how many sites an error names.
const maxShown = 10

// shown are the sites that an error names.
func (s *Sites) shown() []string {
	if len(s.names) <= maxShown {
		return s.names
	}
	return append(slices.Clone(s.names[:maxShown]), fmt.Sprintf("and %d more", len(s.names)-maxShown))
}

// main is the host that a status is about where none is asked for: one that is
// covered if there is any, and empty where no whole name is known.
func (s *Sites) main(covers *host.Matcher) string {
	first := ""
	for _, name := range s.names {
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

// Host is the host that a status is about where none is asked for.
func (l *Licensing) Host() string {
	behind := l.sites.Load()
	if behind == nil {
		return ""
	}
	return behind.main(l.keeper.Validity().Hosts())
}

// checkUse refuses a license that is of no use here.
func (l *Licensing) checkUse(found *license.Validity, forHost string) error {
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
