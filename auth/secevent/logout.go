package secevent

import (
	"context"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
)

// typeLogout is the type of the event of a logout token (Back-Channel Logout 1.0,
// section 2.4).
const typeLogout = "http://schemas.openid.net/event/backchannel-logout"

// ReadLogout judges a logout token (Back-Channel Logout 1.0, section 2.6). Its type
// is often JWT; then the claim `events` tells it from other tokens.
func (s *Source) ReadLogout(ctx context.Context, text string) (*Event, error) {
	t, refusal := s.open(text, []string{"logout+jwt", "jwt", ""}, s.config.Clients)
	if refusal != nil {
		return nil, refusal
	}
	e := &Event{Kind: BackChannelLogout, ID: t.id, IssuedAt: t.issuedAt}
	subject, refusal := s.readLoggedOut(t)
	if refusal == nil && s.isLate(t.issuedAt) {
		refusal = refuse(InvalidRequest, "the claim iat is too long ago")
	}
	if refusal != nil {
		return nil, refusal.of(BackChannelLogout)
	}
	e.add(subject)
	return s.signed(ctx, t, e)
}

// readLoggedOut reads who was logged out, from a claims set that nothing but a logout
// token has.
func (s *Source) readLoggedOut(t *signedToken) (Subject, *Refusal) {
	events, refusal := eventsOf(t.claims)
	if refusal != nil {
		return Subject{}, refusal
	}
	if value, present := events.Get(typeLogout); !present || value.Kind() != '{' {
		return Subject{}, refuse(InvalidRequest, "the claim events does not hold %s, which is an object", typeLogout)
	}
	var user, ended Subject
	for _, one := range []struct {
		claim  string
		target revocation.Target
		into   *Subject
	}{{"sub", revocation.Subject, &user}, {"sid", revocation.Session, &ended}} {
		if _, present := t.claims.Get(one.claim); !present {
			continue
		}
		text, ok := t.claims.Text(one.claim)
		if !ok || !isName(string(text)) {
			return Subject{}, refuse(InvalidRequest, "the claim %s is not a text of 1 to %d bytes without control characters", one.claim, revocation.MaxName)
		}
		*one.into = Subject{one.target, string(text)}
	}
	return s.choose(user, ended, true)
}
