package secevent

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
)

// The members of a subject that is made of several (SSF 1.0, section 3.3).
const (
	memberUser    = "user"
	memberSession = "session"
)

// readSubject reads a subject identifier (RFC 9493; SSF 1.0, sections 3.2 to 3.5) and
// says whose tokens of this issuer it means: a session's, if the event is about one
// and it is named, else a user's. A subject that is not understood, or of another
// issuer, is a refusal: the sender must learn that nothing came of its event.
func (s *Source) readSubject(value jsontext.Value, session bool) (Subject, *Refusal) {
	members, err := jose.ReadObject(value, nil)
	if err != nil {
		return Subject{}, refuse(InvalidRequest, "the subject is %v", err)
	}
	format, ok := formatOf(members)
	if !ok {
		return Subject{}, refuse(InvalidRequest, "the subject's format is not a text")
	}
	_, hasUser := members.Get(memberUser)
	_, hasSession := members.Get(memberSession)
	if format == "complex" || format == "" && (hasUser || hasSession) {
		return s.readComplex(members, session)
	}
	if hasUser || hasSession {
		return Subject{}, refuse(InvalidRequest, "the subject is a simple one, by its format, and has members of a complex one")
	}
	return s.readSimple(members, format, revocation.Subject)
}

// formatOf is the format, under the name that drafts before RFC 9493 had for it as
// well.
func formatOf(members jose.Object) (string, bool) {
	format, ok := members.Text("format")
	if ok && format == nil {
		format, ok = members.Text("subject_type")
	}
	return strings.ReplaceAll(string(format), "-", "_"), ok
}

// readComplex reads a subject that is made of several. Members that would narrow it
// down to a device, a tenant or an application are passed over: then more tokens of
// the user are revoked than need be, and a new login gets past that.
func (s *Source) readComplex(members jose.Object, session bool) (Subject, *Refusal) {
	var user, ended Subject
	var refusal *Refusal
	if value, present := members.Get(memberUser); present {
		if user, refusal = s.readPart(value, revocation.Subject); refusal != nil {
			if _, named := members.Get(memberSession); !refusal.unmatched || !named || !session {
				return user, refusal
			}
			user = Subject{} // the session is named without them
		}
	}
	if value, present := members.Get(memberSession); present {
		if ended, refusal = s.readPart(value, revocation.Session); refusal != nil {
			return ended, refusal
		}
	}
	return s.choose(user, ended, session)
}

// choose says which of the two is revoked.
func (s *Source) choose(user, ended Subject, session bool) (Subject, *Refusal) {
	switch {
	case ended.Name != "" && (user.Name == "" || session && !s.config.EndSubject):
		return ended, nil
	case user.Name != "":
		return user, nil
	}
	return Subject{}, refuse(InvalidRequest, "the subject names neither a user nor a session")
}

func (s *Source) readPart(value jsontext.Value, target revocation.Target) (Subject, *Refusal) {
	members, err := jose.ReadObject(value, nil)
	if err != nil {
		return Subject{}, refuse(InvalidRequest, "a part of the subject is %v", err)
	}
	format, ok := formatOf(members)
	if !ok {
		return Subject{}, refuse(InvalidRequest, "the format of a part of the subject is not a text")
	}
	return s.readSimple(members, format, target)
}

// readSimple reads a subject of one of the formats that say something here.
func (s *Source) readSimple(members jose.Object, format string, target revocation.Target) (Subject, *Refusal) {
	name := ""
	switch format {
	case "iss_sub", "jwt_id": // RFC 9493, section 3.2.3; SSF 1.0, section 3.5.1
		name = "sub"
		if format == "jwt_id" {
			target, name = revocation.TokenID, "jti"
		}
		if iss, ok := members.Text("iss"); !ok || string(iss) != s.config.Issuer && string(iss) != s.transmitter {
			return Subject{}, refuse(InvalidRequest, "the subject is another issuer's")
		}
	case "opaque": // RFC 9493, section 3.2.4
		name = "id"
	case "email": // RFC 9493, section 3.2.2
		if !s.config.MatchEmail || target != revocation.Subject {
			return Subject{}, unmatched("the subject is an e-mail address, and no claim is configured that it could be matched with")
		}
		name = "email"
	default:
		return Subject{}, unmatched("the subject's format is not supported: iss_sub, opaque, email, jwt_id and complex are")
	}
	text, ok := members.Text(name)
	if !ok || !isName(string(text)) {
		return Subject{}, refuse(InvalidRequest, "the subject's %s is not a text of 1 to %d bytes without control characters", name, revocation.MaxName)
	}
	return Subject{target, string(text)}, nil
}

func unmatched(description string) *Refusal {
	refusal := refuse(InvalidRequest, "%s", description)
	refusal.unmatched = true
	return refusal
}

// isName tells whether a revocation can be for what is called so.
func isName(text string) bool {
	return text != "" && len(text) <= revocation.MaxName && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
