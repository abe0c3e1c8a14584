package secevent

import (
	"context"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
)

// The types of events of CAEP 1.0, section 3, of RISC 1.0, section 2, and of SSF 1.0,
// sections 8.1.4 and 8.1.5.
const (
	prefixCAEP = "https://schemas.openid.net/secevent/caep/event-type/"
	prefixRISC = "https://schemas.openid.net/secevent/risc/event-type/"
	prefixSSF  = "https://schemas.openid.net/secevent/ssf/event-type/"

	maxEvents = 16 // in one token

	typeSET = "secevent+jwt" // RFC 8417, section 2.3
)

// kindsOfTypes says which types of events are known. A type that is not changes
// nothing.
var kindsOfTypes = map[string]Kind{
	prefixCAEP + "session-revoked":     SessionRevoked,
	prefixCAEP + "credential-change":   CredentialChange,
	prefixCAEP + "token-claims-change": TokenClaimsChange,
	prefixRISC + "account-disabled":    AccountDisabled,
	prefixRISC + "account-purged":      AccountPurged,
	prefixRISC + "sessions-revoked":    SessionRevoked,
	prefixSSF + "verification":         Verification,
	prefixSSF + "stream-updated":       StreamUpdated,
	prefixRISC + "verification":        Verification,
}

// ReadSET judges a security event token (RFC 8417, SSF 1.0). The error is a
// [*Refusal], or [ErrKeys]. An event that is so late that it can have no effect has
// no subjects, and neither have events of types that say nothing here.
func (s *Source) ReadSET(ctx context.Context, text string) (*Event, error) {
	types := []string{typeSET}
	if s.config.Untyped {
		types = append(types, "jwt", "")
	}
	t, refusal := s.open(text, types, s.config.Audiences)
	if refusal != nil {
		return nil, refusal
	}
	if _, expires := t.claims.Get("exp"); expires && t.typ != typeSET {
		return nil, refuse(InvalidRequest, "the header's typ is not %s, and the claim exp marks a token of another kind", typeSET)
	}
	e := &Event{Kind: Other, ID: t.id, IssuedAt: t.issuedAt}
	events, refusal := eventsOf(t.claims)
	for i := 0; refusal == nil && i < len(events); i++ {
		refusal = s.readEvent(e, t.claims, string(events[i].Name), events[i].Value)
	}
	if refusal != nil {
		return nil, refusal.of(e.Kind)
	}
	if s.isLate(t.issuedAt) {
		e.Subjects = nil
	}
	return s.signed(ctx, t, e)
}

// eventsOf reads the claim `events` (RFC 8417, section 2.2).
func eventsOf(claims jose.Object) (jose.Object, *Refusal) {
	value, _ := claims.Get("events")
	events, err := jose.ReadObject(value, nil)
	if err != nil || len(events) == 0 || len(events) > maxEvents {
		return nil, refuse(InvalidRequest, "the claim events is not an object with 1 to %d members", maxEvents)
	}
	return events, nil
}

// readEvent adds whom one of a token's events is about.
func (s *Source) readEvent(e *Event, claims jose.Object, name string, value jsontext.Value) *Refusal {
	payload, err := jose.ReadObject(value, nil)
	if err != nil {
		return refuse(InvalidRequest, "an event is %v", err)
	}
	kind, known := kindsOfTypes[name]
	if !known {
		return nil
	}
	if len(e.Subjects) == 0 {
		e.Kind = kind
	}
	if change, ok := payload.Text("change_type"); kind == CredentialChange && ok && strings.EqualFold(string(change), "create") {
		return nil // a further credential takes nothing from those that were used
	}
	if kind == Verification || kind == StreamUpdated {
		return nil
	}
	subject, refusal := s.subjectOf(claims, payload, kind == SessionRevoked)
	if refusal != nil {
		return refusal
	}
	e.add(subject)
	return nil
}

// subjectOf finds an event's subject: in the claim `sub_id` (SSF 1.0), or in the
// event's own `subject`, as drafts of SSF and RISC had it. Where there are both they
// must mean the same.
func (s *Source) subjectOf(claims, payload jose.Object, session bool) (subject Subject, refusal *Refusal) {
	for _, place := range []struct {
		in   jose.Object
		name string
	}{{claims, "sub_id"}, {payload, "subject"}} {
		value, present := place.in.Get(place.name)
		if !present {
			continue
		}
		found, refusal := s.readSubject(value, session)
		if refusal != nil {
			return found, refusal
		}
		if subject.Name != "" && subject != found {
			return found, refuse(InvalidRequest, "sub_id and subject do not mean the same")
		}
		subject = found
	}
	if subject.Name == "" {
		return subject, refuse(InvalidRequest, "the event names no subject: sub_id is missing")
	}
	return subject, nil
}

// ReadGlobal judges a request for global token revocation
// (draft-parecki-oauth-global-token-revocation, section 3): the JWT that authenticates
// it, and its body.
func (s *Source) ReadGlobal(ctx context.Context, text string, body []byte) (*Event, error) {
	t, refusal := s.open(text, []string{"global-token-revocation+jwt"}, s.config.GlobalAudiences)
	if refusal != nil {
		refusal.Code = AuthenticationFailed
		return nil, refusal.of(GlobalRevocation)
	}
	if _, present := t.claims.Get("exp"); !present || s.isLate(t.issuedAt) {
		return nil, refuse(AuthenticationFailed, "the claim exp is missing, or iat too long ago").of(GlobalRevocation)
	}
	e, err := s.signed(ctx, t, &Event{Kind: GlobalRevocation, ID: t.id, IssuedAt: t.issuedAt})
	if refused := (*Refusal)(nil); errors.As(err, &refused) {
		refused.Code = AuthenticationFailed
	}
	if err != nil {
		return nil, err
	}
	members, err := jose.ReadObject(body, nil)
	if err != nil {
		return nil, refuse(InvalidRequest, "the body is %v", err).of(GlobalRevocation).signed()
	}
	value, present := members.Get("sub_id")
	if !present {
		value, present = members.Get("subject") // as the draft had it until its third version
	}
	if !present {
		return nil, refuse(InvalidRequest, "the body has no sub_id").of(GlobalRevocation).signed()
	}
	subject, refusal := s.readSubject(value, false)
	if refusal == nil && subject.Target != revocation.Subject {
		refusal = refuse(InvalidRequest, "sub_id does not name a user")
	}
	if refusal != nil {
		return nil, refusal.of(GlobalRevocation).signed()
	}
	e.add(subject)
	return e, nil
}

// signed gives the event if the issuer signed the token.
func (s *Source) signed(ctx context.Context, t *signedToken, e *Event) (*Event, error) {
	err := s.verify(ctx, t)
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		return nil, refusal.of(e.Kind)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (r *Refusal) of(kind Kind) *Refusal {
	r.Kind = kind
	return r
}

func (r *Refusal) signed() *Refusal {
	r.Signed = true
	return r
}
