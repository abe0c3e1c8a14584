package command

import (
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// statusTable shows how a license stands.
func (p *program) statusTable(s *license.Status) table {
	t := table{}
	t.add("State", string(s.State))
	if s.VerifyError != "" {
		t.add("Reason", s.VerifyError)
	}
	if s.KeyID == "" {
		return t
	}
	t.add("Type", string(s.Type))
	t.add("Description", s.Description)
	t.add("Hosts", strings.Join(s.AllowedHosts, ", "))
	t.add("Features", featureNames(s.Features))
	t.add("Issued", p.unixStamp(s.IssuedAt))
	t.add("Expires", p.unixStamp(s.ExpireAt))
	t.add("Days left", fmt.Sprint(s.DaysLeft))
	t.add("Key ID", s.KeyID)
	if s.VerifiedHost != "" {
		t.add("Covers", s.VerifiedHost)
	}
	return t
}

// featureNames words a license's features, of which nil or ["*"] are all.
func featureNames(features []string) string {
	switch {
	case features == nil, len(features) == 1 && features[0] == license.EveryFeature:
		return "every one"
	case len(features) == 0:
		return "none"
	}
	return strings.Join(features, ", ")
}
