package license

import (
	"strings"
	"testing"
	"time"
)

const fingerprint = "3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a"

// TestInstance: a license for one instance is good there and nowhere else, nor where it
// is not known which instance it is.
func TestInstance(t *testing.T) {
	r := request()
	r.Instance = fingerprint
	l := mustSign(t, newSigner(t, "rsa", at(issued)), r)
	if l.Payload.Version() != 2 || l.Payload.Instance != fingerprint || strings.Join(l.Payload.Crit, " ") != "instance" {
		t.Fatalf("%+v", l.Payload)
	}
	here := ""
	for name, instance := range map[string]func() string{
		"here": func() string { return here }, "none known": nil,
	} {
		s := newVerifier(t, at(issued+60), Config{Instance: instance}).Verify(l)
		for _, here = range []string{"", strings.Repeat("0", 64), fingerprint} {
			if instance != nil && here == fingerprint {
				if s.Err() != nil || s.State() != StateValid {
					t.Errorf("%s: %v on its own instance", name, s.Err())
				}
				continue
			}
			wantError(t, s.Err(), ReasonInstance, "payload.instance", "is for another instance")
			if state, words := s.Explain(); state != StateInvalid || !strings.Contains(words, "another instance") || !s.Genuine() {
				t.Errorf("%s: %s, %s", name, state, words)
			}
			if code := s.Err().(*Error).Code(); code != "license_instance" {
				t.Errorf("code %s", code)
			}
		}
	}
}

// TestLimitMembers: the form of enforcement and instance.
func TestLimitMembers(t *testing.T) {
	s := newSigner(t, "ed25519", at(issued))
	for field, change := range map[string]func(*Request){
		"instance":          func(r *Request) { r.Instance = strings.ToUpper(fingerprint) },
		"enforcement":       func(r *Request) { r.Enforcement = map[string]Enforcement{"seats": Deny} },
		"enforcement.users": func(r *Request) { r.Enforcement = map[string]Enforcement{LimitUsers: "strict"} },
	} {
		r := request()
		r.Limits = map[string]int64{LimitUsers: 5}
		change(&r)
		_, err := s.Sign(r)
		wantError(t, err, ReasonForm, field, "")
	}
	r := request()
	r.Limits, r.Instance = map[string]int64{LimitUsers: 5}, fingerprint
	r.Enforcement = map[string]Enforcement{LimitUsers: Deny}
	text := string(mustEncode(t, mustSign(t, s, r)))
	for field, change := range map[string][2]string{
		"payload.crit":              {`"crit": [`, `"crit": ["grace"], "environment": "x", "limits2": [`},
		"payload.enforcement.users": {`"deny"`, `"Deny"`},
		"payload.instance":          {fingerprint, fingerprint[:63]},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if field == "payload.crit" {
			changed = strings.Replace(text, `"instance"`, `"grace"`, 2) // in crit, too
			changed = strings.Replace(changed, `"grace": "`, `"instance": "`, 1)
		}
		_, err := Decode([]byte(changed))
		wantError(t, err, ReasonForm, field, "")
	}
	if _, err := Decode([]byte(text)); err != nil {
		t.Error(err)
	}
}

// TestLimit: a limit counts while the license lets pass.
func TestLimit(t *testing.T) {
	now := at(issued + 60)
	r := request()
	r.Limits = map[string]int64{LimitUsers: 5, LimitServiceAccounts: 0}
	r.Enforcement = map[string]Enforcement{LimitUsers: Deny, LimitServiceAccounts: Advisory}
	s := newVerifier(t, now, Config{}).Verify(mustSign(t, newSigner(t, "ed25519", at(issued)), r))
	if limit, limited := s.Limit(LimitUsers); !limited || limit != (Limit{LimitUsers, 5, true}) {
		t.Errorf("%+v, %t", limit, limited)
	}
	if limit, limited := s.Limit(LimitServiceAccounts); !limited || limit.Most != 0 || limit.Deny {
		t.Errorf("%+v, %t", limit, limited)
	}
	if _, limited := s.Limit("seats"); limited {
		t.Error("a limit that the license does not have")
	}
	now.unix.Store(expires)
	if _, limited := s.Limit(LimitUsers); limited {
		t.Error("a limit of a license that has ended")
	}
	if _, limited := Missing("").Limit(LimitUsers); limited {
		t.Error("a limit without a license")
	}
}

// TestWorse: what takes something away, and nothing else, is worse.
func TestWorse(t *testing.T) {
	v := newVerifier(t, at(issued+60), Config{})
	base := func() Request {
		r := request()
		r.Limits = map[string]int64{LimitUsers: 5}
		r.AllowedHosts = []string{"*.johnwick.org", "johnwick.org", "bücher.example"}
		return r
	}
	stand := func(change func(*Request)) *Validity {
		r := base()
		change(&r)
		s := v.Verify(mustSign(t, newSigner(t, "ed25519", at(issued)), r))
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		return s
	}
	had := stand(func(*Request) {})
	for name, c := range map[string]struct {
		change func(*Request)
		words  string // empty: not worse
	}{
		"the same":     {func(*Request) {}, ""},
		"longer":       {func(r *Request) { r.TTL += day }, ""},
		"earlier end":  {func(r *Request) { r.TTL -= time.Second }, "it ends on"},
		"more hosts":   {func(r *Request) { r.AllowedHosts = []string{"*"} }, ""},
		"fewer hosts":  {func(r *Request) { r.AllowedHosts = r.AllowedHosts[:2] }, "does not cover the host xn--bcher-kva.example"},
		"narrower":     {func(r *Request) { r.AllowedHosts[0] = "a.johnwick.org" }, "does not cover the host *.johnwick.org"},
		"all features": {func(r *Request) { r.Features = nil }, ""},
		"a feature":    {func(r *Request) { r.Features = r.Features[:1] }, "does not grant the feature data-masking"},
		"more room":    {func(r *Request) { r.Limits[LimitUsers] = 6 }, ""},
		"no limit":     {func(r *Request) { r.Limits = nil }, ""},
		"less room":    {func(r *Request) { r.Limits[LimitUsers] = 4 }, "limits users to 4, and the one in force to 5"},
		"a new limit":  {func(r *Request) { r.Limits["seats"] = 1 }, "limits seats to 1"},
		"enforced":     {func(r *Request) { r.Enforcement = map[string]Enforcement{LimitUsers: Deny} }, "refuses what is over the limit of users"},
	} {
		words := had.Worse(stand(c.change))
		if c.words == "" && words != "" || !strings.Contains(words, c.words) {
			t.Errorf("%s: %q, want %q", name, words, c.words)
		}
	}
	every := stand(func(r *Request) { r.Features = nil })
	if words := every.Worse(had); !strings.Contains(words, "every feature") {
		t.Error(words)
	}
}
