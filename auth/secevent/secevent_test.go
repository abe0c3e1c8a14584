package secevent

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
)

var (
	alice   = Subject{revocation.Subject, "alice"}
	session = Subject{revocation.Session, "session-1"}
)

func payload(claims object) []byte {
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return text
}

func check(t *testing.T, e *Event, err error, want []Subject, says string) {
	t.Helper()
	if says == "" {
		if err != nil || !slices.Equal(e.Subjects, want) || !e.IssuedAt.Equal(e.IssuedAt.Truncate(time.Second)) {
			t.Fatalf("got %+v, %v; expected %v", e, err, want)
		}
		return
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Description, says) || e != nil {
		t.Fatalf("got %+v, %v; expected a refusal about %s", e, err, says)
	}
}

func TestSecurityEvents(t *testing.T) {
	key := newSigner(t, "key")
	s := sourceOf(t, config(publish(t, key)))
	email := config(publish(t, key))
	email.MatchEmail = true
	other := config(publish(t, key))
	other.Transmitter = "https://events.example.com"
	subject := func(id any, more ...object) object {
		claims := set(revokedSession, object{})
		claims["sub_id"] = id
		for _, m := range more {
			for name, value := range m {
				claims[name] = value
			}
		}
		return claims
	}
	inEvent := func(event string, id any) object {
		claims := set(event, object{"subject": id})
		delete(claims, "sub_id")
		return claims
	}
	user, ended := object{"format": "iss_sub", "iss": ours, "sub": "alice"}, object{"format": "opaque", "id": "session-1"}
	for name, c := range map[string]struct {
		source *Source
		claims object
		want   []Subject
		says   string
	}{
		"iss_sub":                          {s, set(revokedSession, object{}), []Subject{alice}, ""},
		"opaque":                           {s, subject(object{"format": "opaque", "id": "alice"}), []Subject{alice}, ""},
		"complex, of a session":            {s, subject(object{"format": "complex", "user": user, "session": ended}), []Subject{session}, ""},
		"complex, a session alone":         {s, subject(object{"format": "complex", "session": ended}), []Subject{session}, ""},
		"complex without a format":         {s, subject(object{"user": user, "session": ended}), []Subject{session}, ""},
		"complex, of a device":             {s, subject(object{"format": "complex", "user": user, "device": object{"format": "opaque", "id": "d"}}), []Subject{alice}, ""},
		"complex, a session of an address": {s, subject(object{"user": object{"format": "email", "email": "a@example.com"}, "session": ended}), []Subject{session}, ""},
		"a token":                          {s, subject(object{"format": "jwt_id", "iss": ours, "jti": "t"}), []Subject{{revocation.TokenID, "t"}}, ""},
		"an address that is matched":       {sourceOf(t, email), subject(object{"format": "email", "email": "alice@example.com"}), []Subject{{revocation.Subject, "alice@example.com"}}, ""},
		"the subject in the event":         {s, inEvent(revokedSession, object{"subject_type": "iss-sub", "iss": ours, "sub": "alice"}), []Subject{alice}, ""},
		"the subject in both":              {s, subject(user, object{"events": object{revokedSession: object{"subject": user}}}), []Subject{alice}, ""},
		"the credentials changed":          {s, set(prefixCAEP+"credential-change", object{"change_type": "update", "credential_type": "password"}), []Subject{alice}, ""},
		"a change of an unknown type":      {s, set(prefixCAEP+"credential-change", object{"change_type": 7}), []Subject{alice}, ""},
		"a further credential":             {s, set(prefixCAEP+"credential-change", object{"change_type": "create"}), nil, ""},
		"claims changed, of a session":     {s, set(prefixCAEP+"token-claims-change", object{"claims": object{"role": "x"}, "subject": object{"user": user, "session": ended}}), []Subject{alice}, ""},
		"claims changed":                   {s, inEvent(prefixCAEP+"token-claims-change", object{"user": user, "session": ended}), []Subject{alice}, ""},
		"disabled":                         {s, set(prefixRISC+"account-disabled", object{"reason": "hijacking"}), []Subject{alice}, ""},
		"purged":                           {s, set(prefixRISC+"account-purged", object{}), []Subject{alice}, ""},
		"verification":                     {s, subject(object{"format": "opaque", "id": "stream"}, object{"events": object{prefixSSF + "verification": object{"state": "x"}}}), nil, ""},
		"an unknown event":                 {s, set("https://example.com/event", object{"subject": object{"format": "opaque", "id": "alice"}}), nil, ""},
		"an unknown event of nobody":       {s, subject(nil, object{"events": object{prefixCAEP + "device-compliance-change": object{}}}), nil, ""},
		"two events":                       {s, subject(nil, object{"events": object{revokedSession: object{"subject": object{"format": "opaque", "id": "bob"}}, prefixRISC + "account-purged": object{"subject": user}}}), []Subject{{revocation.Subject, "bob"}, alice}, ""},
		"a known and an unknown one":       {s, subject(user, object{"events": object{"x": object{}, revokedSession: object{}}}), []Subject{alice}, ""},
		"late":                             {s, subject(user, object{"iat": now.Add(-25 * time.Hour).Unix()}), nil, ""},
		"another transmitter":              {sourceOf(t, other), subject(object{"format": "iss_sub", "iss": "https://events.example.com", "sub": "alice"}, object{"iss": "https://events.example.com"}), []Subject{alice}, ""},
		"the issuer, not the transmitter":  {sourceOf(t, other), set(revokedSession, object{}), nil, "iss"},
		"another issuer's subject":         {s, subject(object{"format": "iss_sub", "iss": theirs, "sub": "alice"}), nil, "another issuer"},
		"another issuer's user":            {s, subject(object{"format": "complex", "user": object{"format": "iss_sub", "iss": theirs, "sub": "alice"}, "session": ended}), nil, "another issuer"},
		"another issuer's token":           {s, subject(object{"format": "jwt_id", "iss": theirs, "jti": "t"}), nil, "another issuer"},
		"no iss in iss_sub":                {s, subject(object{"format": "iss_sub", "sub": "alice"}), nil, "another issuer"},
		"an address that is not":           {s, subject(object{"format": "email", "email": "alice@example.com"}), nil, "e-mail"},
		"a session by address":             {sourceOf(t, email), subject(object{"format": "complex", "session": object{"format": "email", "email": "a@b.c"}}), nil, "e-mail"},
		"a number of a telephone":          {s, subject(object{"format": "phone_number", "phone_number": "+1"}), nil, "format"},
		"aliases":                          {s, subject(object{"format": "aliases", "identifiers": []object{user}}), nil, "format"},
		"no format":                        {s, subject(object{"id": "alice"}), nil, "format"},
		"the format a number":              {s, subject(object{"format": 7, "id": "alice"}), nil, "format"},
		"a subject of two forms":           {s, subject(object{"format": "opaque", "id": "alice", "session": ended}), nil, "simple"},
		"complex of nobody":                {s, subject(object{"format": "complex", "tenant": object{"format": "opaque", "id": "t"}}), nil, "neither"},
		"complex of an address":            {s, subject(object{"user": object{"format": "email", "email": "a@example.com"}}), nil, "e-mail"},
		"claims changed, of an address":    {s, inEvent(prefixCAEP+"token-claims-change", object{"user": object{"format": "email", "email": "a@example.com"}, "session": ended}), nil, "e-mail"},
		"complex in complex":               {s, subject(object{"format": "complex", "user": object{"format": "complex", "user": user}}), nil, "format"},
		"the subject a text":               {s, subject("alice"), nil, "subject"},
		"the id a list":                    {s, subject(object{"format": "opaque", "id": []string{"alice"}}), nil, "id"},
		"an empty id":                      {s, subject(object{"format": "opaque", "id": ""}), nil, "id"},
		"a long id":                        {s, subject(object{"format": "opaque", "id": strings.Repeat("a", revocation.MaxName+1)}), nil, "id"},
		"nobody":                           {s, subject(nil), nil, "names no subject"},
		"only sub":                         {s, subject(nil, object{"sub": "alice"}), nil, "names no subject"},
		"different subjects":               {s, subject(user, object{"events": object{revokedSession: object{"subject": object{"format": "opaque", "id": "bob"}}}}), nil, "same"},
		"a good and a bad event":           {s, subject(user, object{"events": object{revokedSession: object{}, prefixRISC + "account-purged": object{"subject": "x"}}}), nil, "subject"},
		"no events":                        {s, subject(user, object{"events": object{}}), nil, "events"},
		"events left out":                  {s, subject(user, object{"events": nil}), nil, "events"},
		"an event that is no object":       {s, subject(user, object{"events": object{revokedSession: "x"}}), nil, "event"},
		"too many events":                  {s, subject(user, object{"events": many(maxEvents + 1)}), nil, "events"},
		"for another":                      {s, subject(user, object{"aud": "https://other.example.net"}), nil, "aud"},
		"for our client":                   {s, subject(user, object{"aud": client}), nil, "aud"},
		"expired, as SETs should not":      {s, subject(user, object{"exp": now.Add(-time.Hour).Unix()}), nil, "exp"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := c.source.ReadSET(t.Context(), key.token(typSET, c.claims))
			if c.says == "" && err == nil {
				slices.SortFunc(e.Subjects, func(a, b Subject) int { return strings.Compare(b.Name, a.Name) })
			}
			check(t, e, err, c.want, c.says)
		})
	}
	untyped := config(publish(t, key))
	untyped.Untyped = true
	lax := sourceOf(t, untyped)
	e, err := lax.ReadSET(t.Context(), key.token("JWT", set(revokedSession, object{})))
	check(t, e, err, []Subject{alice}, "")
	e, err = lax.ReadSET(t.Context(), key.token("JWT", set(revokedSession, object{}), object{"exp": now.Add(time.Hour).Unix()}))
	check(t, e, err, nil, "exp")
	e, err = lax.ReadSET(t.Context(), key.token("at+jwt", set(revokedSession, object{})))
	check(t, e, err, nil, "typ")
	for _, typ := range []string{"", "JWT", "at+jwt", "logout+jwt", "secevent", "dpop+jwt"} {
		e, err := s.ReadSET(t.Context(), key.token(typ, set(revokedSession, object{})))
		check(t, e, err, nil, "typ")
	}
}

func many(n int) object {
	events := object{}
	for i := range n {
		events[strings.Repeat("e", i+1)] = object{}
	}
	return events
}

func TestGlobalRevocation(t *testing.T) {
	key := newSigner(t, "key")
	s := sourceOf(t, config(publish(t, key)))
	const body = `{"sub_id":{"format":"iss_sub","iss":"` + ours + `","sub":"alice"}}`
	for name, c := range map[string]struct {
		token, body string
		want        []Subject
		says        string
		code        Code
	}{
		"a user":                   {key.token(typGlobal, global()), body, []Subject{alice}, "", ""},
		"opaque":                   {key.token(typGlobal, global()), `{"sub_id":{"format":"opaque","id":"alice"}}`, []Subject{alice}, "", ""},
		"as of the earlier drafts": {key.token(typGlobal, global()), `{"subject":{"format":"opaque","id":"alice"}}`, []Subject{alice}, "", ""},
		"an access token":          {key.token("at+jwt", global()), body, nil, "typ", AuthenticationFailed},
		"an ID token":              {key.token("JWT", global()), body, nil, "typ", AuthenticationFailed},
		"a SET":                    {key.token(typSET, global()), body, nil, "typ", AuthenticationFailed},
		"a stranger's":             {newSigner(t, "key").token(typGlobal, global()), body, nil, "signature", AuthenticationFailed},
		"for another":              {key.token(typGlobal, global(), object{"aud": audience}), body, nil, "aud", AuthenticationFailed},
		"without an end":           {key.token(typGlobal, global(), object{"exp": nil}), body, nil, "exp", AuthenticationFailed},
		"no body":                  {key.token(typGlobal, global()), "", nil, "body", InvalidRequest},
		"nobody":                   {key.token(typGlobal, global()), "{}", nil, "sub_id", InvalidRequest},
		"a session":                {key.token(typGlobal, global()), `{"sub_id":{"format":"complex","session":{"format":"opaque","id":"x"}}}`, nil, "user", InvalidRequest},
		"an address":               {key.token(typGlobal, global()), `{"sub_id":{"format":"email","email":"a@example.com"}}`, nil, "e-mail", InvalidRequest},
		"another issuer's":         {key.token(typGlobal, global()), `{"sub_id":{"format":"iss_sub","iss":"` + theirs + `","sub":"alice"}}`, nil, "another issuer", InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := s.ReadGlobal(t.Context(), c.token, []byte(c.body))
			check(t, e, err, c.want, c.says)
			if refusal := (*Refusal)(nil); errors.As(err, &refusal) && refusal.Code != c.code {
				t.Errorf("the code is %s, expected %s", refusal.Code, c.code)
			}
		})
	}
}

// Without what is configured for them, no event of a kind is taken.
func TestNothingIsTakenUnasked(t *testing.T) {
	key := newSigner(t, "key")
	s := sourceOf(t, Config{Issuer: ours, Name: "ours", Keys: publish(t, key), Now: func() time.Time { return now }})
	for _, err := range []error{
		second(s.ReadLogout(t.Context(), key.token(typLogout, logout(), object{"aud": nil}))),
		second(s.ReadSET(t.Context(), key.token(typSET, set(revokedSession, object{}), object{"aud": ""}))),
		second(s.ReadGlobal(t.Context(), key.token(typGlobal, global(), object{"aud": []string{}}), []byte("{}"))),
	} {
		if refusal := (*Refusal)(nil); !errors.As(err, &refusal) {
			t.Errorf("got %v", err)
		}
	}
}

func second(_ *Event, err error) error { return err }
