package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// Whose token it is, iss says to the letter; but for issuers of which each tenant has
// a name of its own, and for workloads whose subject names the trust domain.

// anyTenant is what stands for the id of a tenant where all are meant.
const anyTenant = "any"

// tenants are the issuers that share metadata and keys, and differ by the tenant in
// their identifier.
type tenants struct {
	before, after string   // of the identifier
	ids           []string // nil: any
}

func tenantsOf(p Policy) *tenants {
	before, after, found := strings.Cut(p.Issuer, issuer.TenantPlaceholder)
	if !found {
		return nil
	}
	t := &tenants{before: before, after: after}
	for _, id := range p.Tenants {
		if id != anyTenant {
			t.ids = append(t.ids, strings.ToLower(id))
		}
	}
	return t
}

// CheckIdentifier checks what must go with an identifier that stands for several
// tenants, or for a trust domain.
func (p Policy) CheckIdentifier() error {
	const placeholder = issuer.TenantPlaceholder
	switch several := strings.Contains(p.Issuer, placeholder); {
	case several && strings.Count(p.Issuer+"/", "/"+placeholder+"/") != 1 || strings.Count(p.Issuer, placeholder) > 1:
		return fmt.Errorf("issuer %q: expected %s once, as a whole part of the path", p.Issuer, placeholder)
	case several && p.Preset != "entra":
		return fmt.Errorf("issuer %q: expected `preset entra` with %s: only its tokens name their tenant so", p.Issuer, placeholder)
	case several && len(p.Tenants) == 0:
		return fmt.Errorf("issuer %q: expected `tenants <id...>` with the ids of the tenants whose tokens are taken, or `tenants any`, which takes those of every tenant there is", p.Issuer)
	case !several && len(p.Tenants) > 0:
		return fmt.Errorf("tenants: expected %s in the identifier, such as https://login.microsoftonline.com/%s/v2.0", placeholder, placeholder)
	case several && p.SubjectClaim != "" && p.SubjectClaim != "sub" && p.SubjectClaim != "oid":
		return fmt.Errorf("subject_claim: found %s, expected sub or oid with `tenants`: what else names somebody, the administrators of each tenant choose", p.SubjectClaim)
	case slices.Contains(p.Tenants, anyTenant) && len(p.Tenants) > 1:
		return errors.New("tenants: found any beside ids, expected either")
	}
	for _, id := range p.Tenants {
		if id != anyTenant && !isTenant(strings.ToLower(id)) {
			return fmt.Errorf("tenants: found %q, expected the id of a tenant, such as 72f988bf-86f1-41af-91ab-2d7cd011db47, or any", id)
		}
	}
	of, isDomain := strings.CutPrefix(p.Issuer, spiffeScheme)
	switch domain := p.trustDomain(); {
	case PresetHasTrustDomain(p.Preset) && domain == "":
		return fmt.Errorf("issuer %q: expected `trust_domain <name>`, or an identifier such as spiffe://example.org", p.Issuer)
	case !PresetHasTrustDomain(p.Preset) && (isDomain || domain != ""):
		return errors.New("a trust domain is for tokens of SPIFFE: expected `preset spiffe`")
	case domain != "" && !isTrustDomain(domain):
		return fmt.Errorf("trust domain: found %q, expected a name such as example.org, of lower-case letters, digits and . - _", domain)
	case isDomain && domain != of:
		return fmt.Errorf("trust_domain: found %q, expected %s as in the identifier, or nothing", domain, of)
	}
	return nil
}

// Servers are the identifiers of the authorization servers that the policy takes
// tokens of, as clients may find their metadata; a trust domain is none.
func (p Policy) Servers() (list []string) {
	t := tenantsOf(p)
	switch {
	case strings.HasPrefix(p.Issuer, spiffeScheme):
		return nil
	case t == nil:
		return []string{p.Issuer}
	case t.ids == nil:
		return []string{t.before + "organizations" + t.after}
	}
	for _, id := range t.ids {
		list = append(list, t.before+id+t.after)
	}
	return list
}

// isTenant tells whether a text is the id of a tenant: a UUID in its one spelling.
func isTenant(id string) bool {
	parsed, err := uuid.Parse(id)
	return err == nil && parsed.String() == id
}

// spiffeScheme begins the ids of workloads and of trust domains
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md, section 2).
const spiffeScheme = "spiffe://"

// trustDomain is that of the policy; empty if it has none.
func (p Policy) trustDomain() string {
	if domain, ok := strings.CutPrefix(p.Issuer, spiffeScheme); ok && p.TrustDomain == "" {
		return domain
	}
	return p.TrustDomain
}

// maxSPIFFEID is the longest SPIFFE ID, in bytes (section 2.3).
const maxSPIFFEID = 2048

// trustDomainOf gives the trust domain of a workload's SPIFFE ID; empty if it is none.
func trustDomainOf(id string) string {
	rest, ok := strings.CutPrefix(id, spiffeScheme)
	domain, path, hasPath := strings.Cut(rest, "/")
	if !ok || !hasPath || len(id) > maxSPIFFEID || !isTrustDomain(domain) {
		return ""
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, func(r rune) bool {
			return r > 0x7f || !isAlphanumeric(byte(r)) && !strings.ContainsRune("-._", r)
		}) {
			return ""
		}
	}
	return domain
}

// isTrustDomain tells whether a text may be the name of a trust domain (section 2.1).
func isTrustDomain(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return r > 0x7f || !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("-._", r))
	})
}

// authorityOf finds who issued a token, by its iss; nil: nobody who is configured. The
// refusal is for a token that names an issuer as it must not.
func (v *Verifier) authorityOf(identifier string, c claimSet) (*authority, *Refusal) {
	a := v.authorities[identifier]
	if a == nil && identifier == "" {
		subject, _ := c.text("sub")
		a = v.domains[trustDomainOf(subject)]
	}
	for i := 0; a == nil && i < len(v.tenanted); i++ {
		t := v.tenanted[i].tenants
		if len(identifier) > len(t.before)+len(t.after) && strings.HasPrefix(identifier, t.before) && strings.HasSuffix(identifier, t.after) {
			a = v.tenanted[i]
		}
	}
	switch {
	case a == nil:
		return nil, nil
	case a.tenants != nil:
		// iss is the identifier with the token's own tenant in it, one that is taken.
		t := a.tenants
		id, ok := c.text("tid")
		switch {
		case !ok || !isTenant(id) || identifier != t.before+id+t.after:
			return a, ErrIssuer.because(errors.New("iss is not the identifier with the tenant of tid in it"))
		case t.ids != nil && !slices.Contains(t.ids, id):
			return a, ErrIssuer.because(errors.New("its tenant is none of those that `tenants` lists"))
		}
	case a.domain != "":
		if subject, ok := c.text("sub"); !ok || trustDomainOf(subject) != a.domain {
			return a, ErrIssuer.because(errors.New("sub is no SPIFFE ID of the trust domain " + a.domain))
		}
	}
	return a, nil
}
