package auth

import (
	"math"
	"slices"
)

func (a *authority) checkAlgorithm(h *header) *Refusal {
	if !slices.Contains(a.Algorithms, h.hint.Algorithm) {
		return ErrAlgorithm
	}
	return nil
}

// dates are the claims of RFC 7519, sections 4.1.4 to 4.1.6, in Unix seconds.
type dates struct {
	expiry, notBefore, issued          float64
	hasExpiry, hasNotBefore, hasIssued bool
}

func (c claimSet) dates() (d dates, refusal *Refusal) {
	var ok1, ok2, ok3 bool
	d.expiry, d.hasExpiry, ok1 = c.date("exp")
	d.notBefore, d.hasNotBefore, ok2 = c.date("nbf")
	d.issued, d.hasIssued, ok3 = c.date("iat")
	if !ok1 || !ok2 || !ok3 {
		return d, ErrMalformedClaims
	}
	return d, nil
}

func (a *authority) checkExpiry(c claimSet, now float64) *Refusal {
	d, refusal := c.dates()
	switch {
	case refusal != nil:
		return refusal
	case !d.hasExpiry:
		return ErrNoExpiry
	case now >= math.Floor(d.expiry)+a.leeway():
		return ErrExpired
	}
	return nil
}

// checkBegin honors nbf and iat where they are there.
func (a *authority) checkBegin(c claimSet, now float64) *Refusal {
	d, refusal := c.dates()
	if refusal != nil {
		return refusal
	}
	now += a.leeway()
	if d.hasNotBefore && now < d.notBefore || d.hasIssued && now < d.issued {
		return ErrNotYetValid
	}
	return nil
}

func (a *authority) checkLifetime(c claimSet) *Refusal {
	if a.MaxLifetime <= 0 {
		return nil
	}
	d, refusal := c.dates()
	if refusal != nil {
		return refusal
	}
	if !d.hasIssued || d.expiry-d.issued > a.MaxLifetime.Seconds() {
		return ErrLifetime
	}
	return nil
}

// leeway is the policy's, in seconds.
func (a *authority) leeway() float64 { return float64(a.leewaySeconds) }

func (a *authority) checkAudience(c claimSet) *Refusal {
	audiences, ok := c.audiences()
	if !ok {
		return ErrMalformedClaims
	}
	if containsAny(audiences, a.Audiences) {
		return nil
	}
	if audiences != nil || !a.preset.clientAsAudience {
		return ErrAudience
	}
	client, ok := c.text("client_id")
	if !ok {
		return ErrMalformedClaims
	}
	if len(a.Audiences) > 0 && !slices.Contains(a.Audiences, client) {
		return ErrAudience
	}
	return nil
}

// checkBinding refuses a token that is bound to a key (RFC 7800, RFC 8705, RFC
// 9449): taking it from a mere bearer would undo the binding.
func checkBinding(c claimSet) *Refusal {
	if c.present("cnf") {
		return ErrBound
	}
	return nil
}

func (a *authority) subject(c claimSet) (string, *Refusal) {
	path := a.SubjectClaim
	if path == "" {
		path = "sub"
	}
	value, ok := c.lookup(path)
	if !ok {
		return "", ErrNoSubject
	}
	subject, ok := stringOf(value)
	if !ok {
		return "", ErrMalformedClaims
	}
	if subject == "" {
		return "", ErrNoSubject
	}
	return subject, nil
}

func (a *authority) client(c claimSet) string {
	for _, path := range a.preset.clients {
		if list := c.texts(path); len(list) == 1 {
			return list[0]
		}
	}
	return ""
}

func (a *authority) groups(c claimSet) (list []string) {
	for _, path := range a.preset.groups {
		for _, group := range c.texts(path) {
			if !slices.Contains(list, group) {
				list = append(list, group)
			}
		}
	}
	return list
}

func (a *authority) scopes(c claimSet) []string {
	for _, path := range a.preset.scopes {
		if value, ok := c.lookup(path); ok && value.Kind() != 'n' {
			return c.words(path)
		}
	}
	return nil
}
