package license

import (
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// Limit is what the license in force says of one of its limits.
type Limit struct {
	// Name is that of [Payload.Limits].
	Name string

	// Most is the most that the license is for.
	Most int64

	// Deny refuses one more; else it is only reported.
	Deny bool
}

// Limit gives a limit of the license, if it lets pass now and has that one. It takes
// no lock and no memory.
func (s *Validity) Limit(name string) (limit Limit, limited bool) {
	if s.license == nil || s.Err() != nil {
		return Limit{}, false
	}
	most, limited := s.license.Payload.Limits[name]
	return Limit{Name: name, Most: most, Deny: s.license.Payload.Enforcement[name] == Deny}, limited
}

// Worse says in words what a deployment would lose if a license took the place of
// the one that it has: its end, hosts, features, or room within a limit. Empty:
// nothing. Both licenses must be genuine.
func (s *Validity) Worse(next *Validity) string {
	had, gets := &s.license.Payload, &next.license.Payload
	if gets.ExpireAt < had.ExpireAt {
		return fmt.Sprintf("it ends on %s, and the one in force on %s", stamp(gets.ExpireAt), stamp(had.ExpireAt))
	}
	for _, text := range had.AllowedHosts {
		if pattern, err := host.Parse(text); err == nil && !next.hosts.Covers(pattern) {
			return "it does not cover the host " + pattern.String()
		}
	}
	if s.every && !next.every {
		return "it does not grant every feature any more"
	}
	for feature := range s.features {
		if !next.has(feature) {
			return "it does not grant the feature " + feature
		}
	}
	for name, most := range gets.Limits {
		before, limited := had.Limits[name]
		switch {
		case !limited:
			return fmt.Sprintf("it limits %s to %d", name, most)
		case most < before:
			return fmt.Sprintf("it limits %s to %d, and the one in force to %d", name, most, before)
		case gets.Enforcement[name] == Deny && had.Enforcement[name] != Deny:
			return "it refuses what is over the limit of " + name
		}
	}
	if gets.Instance != "" && gets.Instance != had.Instance {
		return "it is bound to an instance"
	}
	return ""
}
