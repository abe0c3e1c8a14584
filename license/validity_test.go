package license

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

const hour = 60 * 60

// step is a moment of a license's life and the state from then on.
type step struct {
	at    int64
	state State
}

// checkLife walks through the steps with one validity and an injected clock, one
// second before and at each.
func checkLife(t *testing.T, s *Validity, c *clock, first State, steps []step) {
	t.Helper()
	before := first
	for _, step := range steps {
		for _, now := range []struct {
			at    int64
			state State
		}{{step.at - 1, before}, {step.at, step.state}} {
			c.unix.Store(now.at)
			if got := s.State(); got != now.state {
				t.Errorf("at %d (issued %+d): %s, want %s", now.at, now.at-issued, got, now.state)
			}
			if (s.Err() == nil) != now.state.Passes() {
				t.Errorf("at %d, %s: error %v", now.at, now.state, s.Err())
			}
		}
		c.unix.Store(step.at - 1)
		if next, ok := s.NextChange(); !ok || next.Unix() != step.at {
			t.Errorf("at %d the next change is at %v, %t; want %d", step.at-1, next.Unix(), ok, step.at)
		}
		before = step.state
	}
	c.unix.Store(steps[len(steps)-1].at)
	if next, ok := s.NextChange(); ok {
		t.Errorf("after all, another change at %v", next)
	}
}

func TestLife(t *testing.T) {
	short := request()
	short.TTL = time.Second
	later := request()
	later.NotBefore = new(int64(issued + 10))
	early := request()
	early.NotBefore = new(int64(issued - 10*hour))
	none := request()
	none.Grace = new(int64(0))
	own := request()
	own.Grace = new(int64(2 * hour))
	month := 30 * 24 * time.Hour
	for _, c := range []struct {
		name    string
		request Request
		config  Config
		steps   []step
	}{
		{"plain", request(), Config{}, []step{{issued - 300, StateValid}, {expires, StateExpired}}},
		{"warn and grace", request(), Config{Warn: month, Grace: time.Hour}, []step{
			{issued - 300, StateValid}, {expires - 30*24*hour, StateExpiring}, {expires, StateGrace}, {expires + hour, StateExpired},
		}},
		{"no grace of its own", none, Config{Warn: time.Hour, Grace: time.Hour}, []step{
			{issued - 300, StateValid}, {expires - hour, StateExpiring}, {expires, StateExpired},
		}},
		{"a grace of its own", own, Config{Grace: time.Hour}, []step{{issued - 300, StateValid}, {expires, StateGrace}, {expires + 2*hour, StateExpired}}},
		{"not before", later, Config{}, []step{{issued + 10, StateValid}, {expires, StateExpired}}},
		{"not before its issue", early, Config{}, []step{{issued - 300, StateValid}, {expires, StateExpired}}},
		{"shorter than the warning", short, Config{Warn: month}, []step{{issued - 300, StateExpiring}, {issued + backdate + 1, StateExpired}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := mustSign(t, newSigner(t, "rsa", at(issued)), c.request)
			now := at(issued)
			s := newVerifier(t, now, c.config).Verify(l)
			if !s.Genuine() {
				t.Fatal(s.Err())
			}
			checkLife(t, s, now, StateNotYetValid, c.steps)
		})
	}
}

// The greatest integers that a license may hold do not overflow.
func TestLifeAtTheEdges(t *testing.T) {
	p := Payload{IssuedAt: -maxInteger, ExpireAt: maxInteger, Grace: new(int64(maxInteger))}
	tl := newTimeline(&p, 1<<63-1, 1<<63-1)
	if tl.state(-maxInteger-clockSkew-1) != StateNotYetValid || tl.state(0) != StateValid || tl.state(2*maxInteger-1) != StateGrace || tl.state(2*maxInteger) != StateExpired {
		t.Errorf("%+v", tl)
	}
}

func TestMissingAndInvalid(t *testing.T) {
	for _, c := range []struct {
		s      *Validity
		state  State
		reason Reason
		code   string
		words  string
	}{
		{Missing("no file /etc/license.json"), StateMissing, ReasonMissing, "license_missing", "there is no license: no file"},
		{Invalid("permission denied"), StateInvalid, ReasonForm, "license_invalid", "permission denied"},
		{newVerifier(t, at(issued), Config{}).Open([]byte("{}")), StateInvalid, ReasonForm, "license_invalid", "key_id: is missing"},
		{&Validity{fault: asForm(errors.New("odd"))}, StateInvalid, ReasonForm, "license_invalid", "odd"},
	} {
		state, words := c.s.Explain()
		if state != c.state || c.s.State() != c.state || !strings.Contains(words, c.words) {
			t.Errorf("%s, %q; want %s, %q", state, words, c.state, c.words)
		}
		for _, err := range []error{c.s.Err(), c.s.Check("a.org", "a")} {
			var e *Error
			if !errors.As(err, &e) || e.Reason != c.reason || e.Code() != c.code {
				t.Errorf("%v, want reason %s and code %s", err, c.reason, c.code)
			}
		}
		if c.s.Grants() || c.s.Grants("a") || c.s.Genuine() || c.s.License() != nil || c.s.Hosts().Match("a.org") || len(c.s.RefusedHosts()) != 0 {
			t.Errorf("%s gives something", c.state)
		}
		if at, ok := c.s.NextChange(); ok {
			t.Errorf("%s changes at %s", c.state, at)
		}
	}
}

// The order is time → host → feature, and the code tells the first that fails.
func TestCheck(t *testing.T) {
	r := request()
	r.NotBefore = new(int64(issued))
	l := mustSign(t, newSigner(t, "ed25519", at(issued)), r)
	now := at(issued)
	s := newVerifier(t, now, Config{}).Verify(l)
	for _, c := range []struct {
		name     string
		at       int64
		host     string
		features []string
		reason   Reason
		code     string
	}{
		{"covered", issued, "johnwick.org:8443", nil, "", ""},
		{"covered with features", issued, "a.johnwick.org", []string{"runbooks", "data-masking"}, "", ""},
		{"time first", issued - 1, "evil.example", []string{"x"}, ReasonNotYetValid, "license_not_yet_valid"},
		{"end first", expires, "evil.example", []string{"x"}, ReasonExpired, "license_expired"},
		{"host before feature", issued, "evil.example", []string{"x"}, ReasonHost, "license_host"},
		{"no host", issued, "", nil, ReasonHost, "license_host"},
		{"feature", issued, "johnwick.org", []string{"runbooks", "x"}, ReasonFeature, "license_feature"},
		{"feature's case", issued, "johnwick.org", []string{"Runbooks"}, ReasonFeature, "license_feature"},
		{"feature *", issued, "johnwick.org", []string{"*"}, ReasonFeature, "license_feature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now.unix.Store(c.at)
			err := s.Check(c.host, c.features...)
			if c.reason == "" {
				if err != nil || !s.Grants(c.features...) {
					t.Errorf("%v, want it to pass", err)
				}
				return
			}
			wantError(t, err, c.reason, "", "the license")
			if c.reason.Code() != c.code || !errors.Is(err, &Error{Reason: c.reason}) || errors.Is(err, &Error{Reason: ReasonForm}) {
				t.Errorf("code %s, want %s", c.reason.Code(), c.code)
			}
			if strings.Contains(err.Error(), "evil") {
				t.Errorf("%q repeats the client's words", err)
			}
			if wantGrants := c.reason == ReasonHost && c.features == nil; s.Grants(c.features...) != wantGrants {
				t.Errorf("Grants is %t, want %t", !wantGrants, wantGrants)
			}
		})
	}
}

func TestFeatures(t *testing.T) {
	for _, c := range []struct {
		name     string
		features []string
		grants   bool
		status   []string
	}{
		{"absent", nil, true, []string{"*"}},
		{"every", []string{"*"}, true, []string{"*"}},
		{"none", []string{}, false, []string{}},
		{"another", []string{"other"}, false, []string{"other"}},
		{"this", []string{"this", "other"}, true, []string{"other", "this"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request()
			r.Features = c.features
			for _, key := range keyNames {
				s := newVerifier(t, at(issued), Config{}).Verify(mustSign(t, newSigner(t, key, at(issued)), r))
				if s.Grants("this") != c.grants || !s.Grants() || (s.Check("johnwick.org", "this") == nil) != c.grants {
					t.Errorf("%s: grants this: %t, want %t", key, s.Grants("this"), c.grants)
				}
				if got := s.Status("").Features; !reflect.DeepEqual(got, c.status) {
					t.Errorf("%s: status says %q, want %q", key, got, c.status)
				}
			}
		})
	}
}

// A license whose patterns are partly bad is honored for the others.
func TestPartlyBadHosts(t *testing.T) {
	p := Payload{Type: OSS, IssuedAt: issued, ExpireAt: expires, AllowedHosts: []string{"*bad", "a.org", "*.co.uk"}, Description: "Acme"}
	s := newVerifier(t, at(issued), Config{}).Verify(signAnything(t, p))
	if s.Err() != nil || len(s.RefusedHosts()) != 1 || !strings.Contains(s.RefusedHosts()[0].Error(), `"*bad"`) {
		t.Errorf("%v, refused %v; want one refused", s.Err(), s.RefusedHosts())
	}
	for h, want := range map[string]bool{"a.org": true, "x.co.uk": true, "bad": false, "xbad": false} {
		if (s.Check(h) == nil) != want || s.Hosts().Match(h) != want {
			t.Errorf("%s: %v, want it to pass: %t", h, s.Check(h), want)
		}
	}
}

func TestExplain(t *testing.T) {
	l := mustSign(t, newSigner(t, "rsa", at(issued)), request())
	now := at(0)
	s := newVerifier(t, now, Config{Warn: time.Hour, Grace: time.Hour}).Verify(l)
	for _, c := range []struct {
		at    int64
		words string
	}{
		{issued - 301, "not valid before 2025-12-31T23:55:00Z"},
		{issued, "valid until 2027-01-01T00:00:00Z"},
		{expires - 1, "ends soon, on 2027-01-01T00:00:00Z"},
		{expires, "ended on 2027-01-01T00:00:00Z and is honored until 2027-01-01T01:00:00Z"},
		{expires + hour, "ended on 2027-01-01T00:00:00Z"},
	} {
		now.unix.Store(c.at)
		if state, words := s.Explain(); state != s.State() || !strings.Contains(words, c.words) {
			t.Errorf("%s: %q, want it to say %q", state, words, c.words)
		}
	}
}

func TestStates(t *testing.T) {
	passing := 0
	for _, s := range States() {
		if s.Passes() {
			passing++
		}
	}
	if len(States()) != 8 || passing != 3 || State("").Passes() {
		t.Errorf("%d states, %d of them pass; want 8 and 3", len(States()), passing)
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	s := newVerifier(t, at(issued), Config{}).Verify(mustSign(t, newSigner(t, "rsa", at(issued)), request()))
	expired := newVerifier(t, at(expires), Config{}).Verify(s.License())
	features := []string{"runbooks"}
	for name, f := range map[string]func() bool{
		"let in":  func() bool { return s.Check("API.johnwick.org:8443", features...) == nil },
		"state":   func() bool { return s.State() == StateValid },
		"grants":  func() bool { return s.Grants(features...) },
		"host":    func() bool { return s.Check("evil.example", features...) != nil },
		"expired": func() bool { return expired.Check("johnwick.org") != nil },
	} {
		if allocs := testing.AllocsPerRun(100, func() {
			if !f() {
				t.Errorf("%s: another answer", name)
			}
		}); allocs != 0 {
			t.Errorf("%s allocates %v times", name, allocs)
		}
	}
}

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
