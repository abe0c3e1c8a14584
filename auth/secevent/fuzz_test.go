package secevent

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
)

// FuzzEvent: whatever the issuer signs, an event never widens access, and never
// touches another issuer's subjects: all that comes of one are revocations of tokens
// of this issuer, of subjects whose names stand in it, and only of an event that says
// that it is this issuer's, for us, and no other kind of token. Whatever somebody else
// signs, nothing comes of it.
func FuzzEvent(f *testing.F) {
	key, stranger := newSigner(f, "key"), newSigner(f, "key")
	c := config(publish(f, key))
	c.MatchEmail = true
	s := sourceOf(f, c)
	for _, claims := range []object{logout(), global(), set(revokedSession, object{}), set(prefixRISC+"account-purged", object{"subject": object{"format": "email", "email": "a@b.c"}})} {
		for _, iss := range []string{ours, theirs} {
			claims["iss"] = iss
			for _, typ := range []string{typLogout, typSET, typGlobal, "JWT", "at+jwt"} {
				f.Add(typ, payload(claims), []byte(`{"sub_id":{"format":"iss_sub","iss":"`+iss+`","sub":"alice"}}`))
			}
		}
	}
	f.Add(typSET, []byte(`{"iss":"`+ours+`","aud":"`+audience+`","iat":1.8e9,"jti":"j","events":{"`+revokedSession+`":{}},"sub_id":{"format":"complex","user":{"format":"iss_sub","iss":"`+theirs+`","sub":"x"},"session":{"format":"opaque","id":"s"}}}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, typ string, claims, body []byte) {
		header := payload(object{"alg": "ES256", "kid": "key", "typ": typ})
		for _, by := range []*signer{key, stranger} {
			token := by.sign(header, claims)
			byLogout, err := s.ReadLogout(t.Context(), token)
			judge(t, s, byLogout, err, by == key, claims, claims, client)
			bySET, err := s.ReadSET(t.Context(), token)
			judge(t, s, bySET, err, by == key, claims, claims, audience)
			byRequest, err := s.ReadGlobal(t.Context(), token, body)
			judge(t, s, byRequest, err, by == key, claims, body, endpoint)
			if said := b2i(byLogout != nil) + b2i(bySET != nil) + b2i(byRequest != nil); said > 1 {
				t.Fatalf("one token is %d kinds of events", said)
			}
		}
	})
}

func b2i(holds bool) int {
	if holds {
		return 1
	}
	return 0
}

// judge holds what came of an event against what another reader finds in it.
func judge(t *testing.T, s *Source, e *Event, err error, signed bool, claims, named []byte, aud string) {
	t.Helper()
	if (e == nil) == (err == nil) {
		t.Fatalf("got %v and %v", e, err)
	}
	if err != nil {
		if refusal := (*Refusal)(nil); !errors.As(err, &refusal) || !slices.Contains(Kinds, refusal.Kind) {
			t.Fatalf("got %v", err)
		}
		return
	}
	var found struct {
		Iss   string          `json:"iss"`
		Aud   json.RawMessage `json:"aud"`
		JTI   string          `json:"jti"`
		Nonce json.RawMessage `json:"nonce"`
	}
	if !signed || json.Unmarshal(claims, &found) != nil || found.Iss != ours || found.JTI != e.ID || found.Nonce != nil || !bytes.Contains(unescaped(found.Aud), []byte(aud)) {
		t.Fatalf("taken: %s", claims)
	}
	if e.IssuedAt.After(now.Add(s.config.Leeway)) {
		t.Fatalf("it is of the future: %s", claims)
	}
	texts := textsOf(t, named)
	for _, draft := range s.drafts(e) {
		if draft.Issuer != ours || !slices.Contains(revocation.Targets, draft.Target) || draft.IssuedBefore.After(now.Add(maxAhead)) {
			t.Fatalf("it revokes %+v", draft)
		}
		if !texts[draft.Name] || !utf8.ValidString(draft.Name) || draft.Name == "" || strings.ContainsAny(draft.Name, "\n\x00") {
			t.Fatalf("it names %q, which %s does not", draft.Name, named)
		}
	}
	if len(e.Subjects) > 0 && e.Kind != BackChannelLogout && strings.Contains(string(named), theirs) && !strings.Contains(string(named), ours) {
		t.Fatalf("another issuer's: %s", named)
	}
}

func unescaped(text json.RawMessage) []byte {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	return b.Bytes()
}

// textsOf are all texts in a JSON document.
func textsOf(t *testing.T, document []byte) map[string]bool {
	t.Helper()
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]bool)
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			texts[v] = true
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			for _, one := range v {
				walk(one)
			}
		}
	}
	walk(value)
	return texts
}

// FuzzMemoryRecord: what is read is written again as the same bytes.
func FuzzMemoryRecord(f *testing.F) {
	f.Add([]byte(`{"id":"00112233445566778899aabbccddeeff","until":1800000000}`))
	f.Add([]byte(`{"id":"00112233445566778899AABBCCDDEEFF","until":1}`))
	f.Add([]byte(`{"id":"","until":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		made, err := readMemory(line)
		if err != nil {
			return
		}
		again, err := readMemory(memories.Append(nil, made))
		if err != nil || *again != *made {
			t.Fatalf("%s is read as %+v, and then as %+v, %v", line, made, again, err)
		}
	})
}

// FuzzPollAnswer: an answer of any form is read or refused, and never a reason to end.
func FuzzPollAnswer(f *testing.F) {
	f.Add([]byte(`{"sets":{"a":"b"},"moreAvailable":true}`))
	f.Add([]byte(`{"sets":{"a":1}}`))
	f.Add([]byte(`{"sets":[]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		sets, err := setsOf(answer)
		if err != nil && sets != nil {
			t.Fatalf("got %v and %v", sets, err)
		}
	})
}
