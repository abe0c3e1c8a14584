package license

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const otherID = "00000000-0000-4000-8000-000000000000"

// list signs a list of revoked licenses, good for a day.
func list(t testing.TB, key string, version int64, ids ...string) []byte {
	t.Helper()
	s, err := NewSigner(SignerConfig{Key: testKey(t, key), Now: at(issued).now})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.SignRevocations(version, time.Unix(issued, 0).Add(day), ids)
	if err != nil {
		t.Fatal(err)
	}
	data, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRevocations: what is on the newest list is refused at once, with a state and a
// reason of its own, and let pass again by a list without it.
func TestRevocations(t *testing.T) {
	for _, key := range keyNames {
		known := new(Revocations)
		v := newVerifier(t, at(issued+60), Config{Revocations: known})
		r := full()
		r.ID, r.NotBefore = strings.ToUpper(licenseID), nil
		s := v.Verify(mustSign(t, newSigner(t, "ed25519", at(issued)), r))
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		take := func(data []byte, want passing) {
			t.Helper()
			if changed, err := v.TakeRevocations(data); err != nil || !changed {
				t.Fatalf("changed %t, error %v", changed, err)
			}
			if s.State() != want.state || (s.Err() == nil) != want.passes {
				t.Errorf("state %s, error %v, want %s", s.State(), s.Err(), want.state)
			}
		}
		take(list(t, key, 1, otherID), passing{StateValid, true})
		take(list(t, key, 2, otherID, strings.ToUpper(licenseID), licenseID), passing{StateRevoked, false})
		wantError(t, s.Err(), ReasonRevokedID, "payload.id", "has been revoked")
		if state, words := s.Explain(); state != StateRevoked || !strings.Contains(words, "has been revoked") || !s.Genuine() || s.Err().(*Error).Code() != "license_revoked" {
			t.Errorf("%s: %s", state, words)
		}
		take(list(t, key, 7), passing{StateValid, true})
		if l, _ := known.List(); l.Payload.Version != 7 {
			t.Errorf("version %d", l.Payload.Version)
		}
	}
}

type passing struct {
	state  State
	passes bool
}

// TestRevocationsRefused: no list that is older, another's, changed, or of the future
// takes the place of the known one.
func TestRevocationsRefused(t *testing.T) {
	known := new(Revocations)
	v := newVerifier(t, at(issued+60), Config{Revocations: known})
	good := list(t, "ed25519", 5, licenseID)
	if _, err := v.TakeRevocations(good); err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) []byte {
		t.Helper()
		if !strings.Contains(string(good), old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return []byte(strings.Replace(string(good), old, new, 1))
	}
	foreign := newVerifier(t, at(issued+60), Config{Revocations: known, Keys: newKeySet(t, TrustedKey{Key: testKey(t, "rsa").Public()})})
	revoked := newVerifier(t, at(issued+60), Config{Revocations: known, Keys: newKeySet(t, TrustedKey{Key: testKey(t, "ed25519").Public(), Revoked: true})})
	early := newVerifier(t, at(issued-3600), Config{Revocations: known})
	for name, c := range map[string]struct {
		v      *Verifier
		data   []byte
		reason Reason // empty: ErrOlder
	}{
		"older":              {v, list(t, "ed25519", 4), ""},
		"same version":       {v, list(t, "ed25519", 5), ""},
		"untrusted":          {foreign, list(t, "ed25519", 6), ReasonUnknownKey},
		"revoked key":        {revoked, list(t, "ed25519", 6), ReasonRevokedKey},
		"ahead":              {early, list(t, "ed25519", 6), ReasonForm},
		"one taken off":      {v, change(`"`+licenseID+`"`, ""), ReasonSignature},
		"version changed":    {v, change(`"version": 5`, `"version": 6`), ReasonSignature},
		"signature of other": {v, change(`"next_update": `, `"next_update": 1`), ReasonSignature},
		"unknown member":     {v, change(`"version": 5`, `"version": 6, "x": 1`), ReasonForm},
		"twice":              {v, change(`"version": 5`, `"version": 6, "version": 6`), ReasonForm},
		"capitals":           {v, change(licenseID, strings.ToUpper(licenseID)), ReasonForm},
		"not an id":          {v, change(licenseID, "all"), ReasonForm},
		"null":               {v, []byte("null"), ReasonForm},
		"a license":          {v, mustEncode(t, mustSign(t, newSigner(t, "ed25519", at(issued)), full())), ReasonForm},
		"too large":          {v, make([]byte, MaxRevocationsSize+1), ReasonForm},
		"empty":              {v, nil, ReasonForm},
	} {
		changed, err := c.v.TakeRevocations(c.data)
		var e *Error
		switch {
		case changed || err == nil:
			t.Errorf("%s: taken", name)
		case c.reason == "" && !errors.Is(err, ErrOlder):
			t.Errorf("%s: %v, want that it is older", name, err)
		case c.reason != "" && (!errors.As(err, &e) || e.Reason != c.reason):
			t.Errorf("%s: %v, want the reason %s", name, err, c.reason)
		case (c.reason == ReasonUnknownKey || c.reason == ReasonRevokedKey) && !strings.Contains(e.Detail, "have the list signed"):
			t.Errorf("%s: %v, want that the list is to be signed", name, err)
		}
		if !known.Has(licenseID) || known.Has(otherID) {
			t.Fatalf("%s: the known list is another one", name)
		}
	}
	if changed, err := v.TakeRevocations(good); changed || err != nil {
		t.Errorf("the same again: %t, %v", changed, err)
	}
}

func TestSignRevocationsBounds(t *testing.T) {
	s := newSigner(t, "ed25519", at(issued))
	next := time.Unix(issued, 0).Add(2 * day)
	many := make([]string, MaxRevoked+1)
	for i := range many {
		many[i] = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
	}
	for field, sign := range map[string]func() (*RevocationList, error){
		"version":     func() (*RevocationList, error) { return s.SignRevocations(0, next, nil) },
		"next_update": func() (*RevocationList, error) { return s.SignRevocations(1, time.Unix(issued, 0), nil) },
		"revoked":     func() (*RevocationList, error) { return s.SignRevocations(1, next, many) },
		"revoked[0]":  func() (*RevocationList, error) { return s.SignRevocations(1, next, []string{"*"}) },
	} {
		_, err := sign()
		wantError(t, err, ReasonForm, field, "want")
	}
	l, err := s.SignRevocations(1, next, many[1:])
	if err != nil {
		t.Fatal(err)
	}
	data, err := l.Encode()
	if err != nil || len(data) > MaxRevocationsSize {
		t.Errorf("the largest list has %d bytes: %v", len(data), err)
	}
	if _, err := DecodeRevocations(data); err != nil {
		t.Error(err)
	}
	if _, err := (*Signer)(nil).SignRevocations(1, next, nil); !errors.Is(err, ErrMissingKey) {
		t.Error(err)
	}
}

// TestRevokedAllocatesNothing: asking for revoked licenses, and for the instance, costs
// the path of a request no memory.
func TestRevokedAllocatesNothing(t *testing.T) {
	known := new(Revocations)
	v := newVerifier(t, at(issued+60), Config{Revocations: known, Instance: func() string { return fingerprint }})
	r := full()
	r.NotBefore, r.Instance = nil, fingerprint
	s := v.Verify(mustSign(t, newSigner(t, "ed25519", at(issued)), r))
	for _, data := range [][]byte{list(t, "rsa", 1, otherID), list(t, "rsa", 2, licenseID)} {
		if _, err := v.TakeRevocations(data); err != nil {
			t.Fatal(err)
		}
		if allocs := testing.AllocsPerRun(100, func() { _ = s.Check("johnwick.org") }); allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	}
}

func FuzzDecodeRevocations(f *testing.F) {
	good := list(f, "ed25519", 5, licenseID, otherID)
	f.Add(good)
	f.Add([]byte(`{"key_id":"","payload":{"version":1,"issued_at":0,"next_update":1,"revoked":[]},"signature":"AA=="}`))
	f.Add([]byte(strings.Replace(string(good), "5", "6", 1)))
	keys := newKeySet(f, TrustedKey{Key: testKey(f, "ed25519").Public()})
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := DecodeRevocations(data)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason != ReasonForm {
				t.Fatalf("error %v of another kind", err)
			}
			return
		}
		text, err := l.Encode()
		if err != nil {
			return // only spaces, left out in what was read, make it too large
		}
		again, err := DecodeRevocations(text)
		if err != nil || !reflect.DeepEqual(l.Payload, again.Payload) {
			t.Fatalf("read again: %v", err)
		}
		if keys.VerifyRevocations(l) == nil && l.Payload.Version != 5 {
			t.Fatal("a list that nobody signed is believed")
		}
	})
}
