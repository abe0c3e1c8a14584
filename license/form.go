package license

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// maxInteger is the greatest magnitude of any number in a license.
const maxInteger = strictjson.MaxInteger

// Bounds of a payload's strings, in bytes.
const (
	minDescription = 2
	maxDescription = 200
	maxIssuer      = 200
	maxEnvironment = 100
	maxFeature     = 64
	maxName        = 64
)

// Bounds of a payload's lists.
const (
	maxHosts    = 256
	maxFeatures = 256
	maxLimits   = 64
	maxCrit     = 16
)

var (
	featureName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	memberName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	keyIDForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	uuidForm    = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// check makes sure that the payload is one that a license may have, as far as that
// needs neither a key nor a clock. Version 1 must carry none of version 2's members,
// which its signature would not cover.
func (p *Payload) check() error {
	if p.V != 0 && p.V != 2 {
		return badForm("payload.v", "is %d; want 2, or no v at all for version 1", p.V)
	}
	if name := p.newer(); p.V == 0 && name != "" {
		return badForm("payload."+name, `needs version 2; want "v": 2 beside it`)
	}
	if p.Type != OSS && p.Type != Enterprise {
		return badForm("payload.type", "is %s; want %q or %q", quote(string(p.Type)), OSS, Enterprise)
	}
	checks := []func() error{p.checkTimes, p.checkTexts, p.checkFeatures, p.checkLimits, p.checkCrit}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	if p.Version() == 1 {
		return p.checkText()
	}
	return nil
}

// newer names a member that only version 2 has and that is present, or has a
// value that only version 2 gives a meaning to; empty if there is none.
func (p *Payload) newer() string {
	everyOrNone := p.Features != nil && (len(p.Features) == 0 || slices.Contains(p.Features, EveryFeature))
	switch {
	case p.ID != "":
		return "id"
	case p.Issuer != "":
		return "issuer"
	case p.NotBefore != nil:
		return "not_before"
	case p.Grace != nil:
		return "grace"
	case p.Limits != nil:
		return "limits"
	case p.Enforcement != nil:
		return "enforcement"
	case p.Instance != "":
		return "instance"
	case p.Environment != "":
		return "environment"
	case p.Crit != nil:
		return "crit"
	case everyOrNone:
		return "features"
	}
	return ""
}

func (p *Payload) checkTimes() error {
	if err := checkInteger("payload.issued_at", &p.IssuedAt); err != nil {
		return err
	}
	if err := checkInteger("payload.expire_at", &p.ExpireAt); err != nil {
		return err
	}
	if err := checkInteger("payload.not_before", p.NotBefore); err != nil {
		return err
	}
	if err := checkInteger("payload.grace", p.Grace); err != nil {
		return err
	}
	switch {
	case p.IssuedAt >= p.ExpireAt:
		return badForm("payload.expire_at", "is %d; want a time after issued_at, which is %d", p.ExpireAt, p.IssuedAt)
	case p.NotBefore != nil && *p.NotBefore >= p.ExpireAt:
		return badForm("payload.not_before", "is %d; want a time before expire_at, which is %d", *p.NotBefore, p.ExpireAt)
	case p.Grace != nil && *p.Grace < 0:
		return badForm("payload.grace", "is %d; want 0 or more seconds", *p.Grace)
	}
	return nil
}

func checkInteger(path string, n *int64) error {
	if n != nil && (*n > maxInteger || *n < -maxInteger) {
		return badForm(path, "is %d; want an integer within ±2^53", *n)
	}
	return nil
}

// checkTexts looks at the strings only. A host pattern that does not parse is not an
// error of form: the license is honored for the others.
func (p *Payload) checkTexts() error {
	if len(p.AllowedHosts) == 0 || len(p.AllowedHosts) > maxHosts {
		return badForm("payload.allowed_hosts", "has %d entries; want 1 to %d", len(p.AllowedHosts), maxHosts)
	}
	for i, h := range p.AllowedHosts {
		path := fmt.Sprintf("payload.allowed_hosts[%d]", i)
		if err := checkString(path, h, 0, host.MaxPattern); err != nil {
			return err
		}
	}
	if err := checkString("payload.description", p.Description, minDescription, maxDescription); err != nil {
		return err
	}
	if err := checkString("payload.issuer", p.Issuer, 0, maxIssuer); err != nil {
		return err
	}
	if err := checkString("payload.environment", p.Environment, 0, maxEnvironment); err != nil {
		return err
	}
	if p.ID != "" && !uuidForm.MatchString(p.ID) {
		return badForm("payload.id", "is %s; want a UUID as in 5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11", quote(p.ID))
	}
	return nil
}

func checkString(path, s string, least, most int) error {
	switch {
	case !utf8.ValidString(s):
		return badForm(path, "is not valid UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return badForm(path, "holds a control character; want printable text")
	case len(s) < least || len(s) > most:
		return badForm(path, "has %d bytes; want %d to %d", len(s), least, most)
	}
	return nil
}

func (p *Payload) checkFeatures() error {
	if len(p.Features) > maxFeatures {
		return badForm("payload.features", "has %d entries; want at most %d", len(p.Features), maxFeatures)
	}
	if len(p.Features) == 1 && p.Features[0] == EveryFeature {
		return nil
	}
	seen := make(map[string]bool, len(p.Features))
	for i, f := range p.Features {
		path := fmt.Sprintf("payload.features[%d]", i)
		if len(f) > maxFeature || !featureName.MatchString(f) {
			return badForm(path, `is %s; want lower-case letters, digits and hyphens, at most %d, or ["*"] alone for every feature`, quote(f), maxFeature)
		}
		if seen[f] {
			return badForm(path, "is %q a second time; want each feature once", f)
		}
		seen[f] = true
	}
	if p.Version() == 1 && !slices.IsSorted(p.Features) {
		return badForm("payload.features", "is not sorted; version 1 wants it sorted")
	}
	return nil
}

func (p *Payload) checkLimits() error {
	if p.Limits != nil && (len(p.Limits) == 0 || len(p.Limits) > maxLimits) {
		return badForm("payload.limits", "has %d members; want 1 to %d, or leave it out", len(p.Limits), maxLimits)
	}
	for name, n := range p.Limits {
		if len(name) > maxName || !memberName.MatchString(name) {
			return badForm("payload.limits", "has the name %s; want letters, digits, '-', '_' and '.', at most %d", quote(name), maxName)
		}
		if err := checkInteger("payload.limits."+name, &n); err != nil {
			return err
		}
	}
	if p.Enforcement != nil && len(p.Enforcement) == 0 {
		return badForm("payload.enforcement", "has no members; want some, or leave it out")
	}
	for name, word := range p.Enforcement {
		if _, limited := p.Limits[name]; !limited {
			return badForm("payload.enforcement", "names %s, which is none of the limits", quote(name))
		}
		if word != Advisory && word != Deny {
			return badForm("payload.enforcement."+name, "is %s; want %q or %q", quote(string(word)), Advisory, Deny)
		}
	}
	return nil
}

// checkCrit makes sure also that a license for one instance says that this is
// critical: a verifier that knows nothing of instances must refuse it.
func (p *Payload) checkCrit() error {
	if p.Crit != nil && (len(p.Crit) == 0 || len(p.Crit) > maxCrit) {
		return badForm("payload.crit", "has %d entries; want 1 to %d, or leave it out", len(p.Crit), maxCrit)
	}
	for i, name := range p.Crit {
		path := fmt.Sprintf("payload.crit[%d]", i)
		if len(name) > maxName || !memberName.MatchString(name) {
			return badForm(path, "is %s; want letters, digits, '-', '_' and '.', at most %d", quote(name), maxName)
		}
		if slices.Contains(p.Crit[:i], name) {
			return badForm(path, "is %q a second time; want each name once", name)
		}
	}
	critical := slices.Contains(p.Crit, critInstance)
	switch {
	case p.Instance == "" && critical:
		return badForm("payload.instance", "is missing, and crit names it; want the fingerprint of an instance")
	case p.Instance == "":
		return nil
	case !keyIDForm.MatchString(p.Instance):
		return badForm("payload.instance", "is %s; want 64 lower-case hexadecimal digits", quote(p.Instance))
	case !critical:
		return badForm("payload.crit", `does not name "instance"; a license for one instance must`)
	}
	return nil
}
