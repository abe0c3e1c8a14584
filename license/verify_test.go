package license

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"
	"time"
)

const licenseID = "5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11"

// full is a request that uses all of version 2.
func full() Request {
	r := request()
	r.ID = licenseID
	r.Issuer = "Gatehouse Inc."
	r.NotBefore = new(int64(issued + 60))
	r.Grace = new(int64(3600))
	r.Limits = map[string]int64{"seats": 25}
	r.Environment = "production"
	r.Crit = []string{"grace", "not_before"}
	return r
}

// Any change of any member breaks the signature, whatever the key and version.
func TestChangedPayloadsDoNotVerify(t *testing.T) {
	changes := map[string]func(p *Payload){
		"type":                func(p *Payload) { p.Type = OSS },
		"issued_at":           func(p *Payload) { p.IssuedAt-- },
		"expire_at":           func(p *Payload) { p.ExpireAt++ },
		"a host":              func(p *Payload) { p.AllowedHosts[1] = "evil.example" },
		"a host more":         func(p *Payload) { p.AllowedHosts = append(p.AllowedHosts, "evil.example") },
		"a host less":         func(p *Payload) { p.AllowedHosts = p.AllowedHosts[:1] },
		"hosts swapped":       func(p *Payload) { p.AllowedHosts[0], p.AllowedHosts[1] = p.AllowedHosts[1], p.AllowedHosts[0] },
		"description":         func(p *Payload) { p.Description += "!" },
		"description's case":  func(p *Payload) { p.Description = strings.ToUpper(p.Description) },
		"a feature more":      func(p *Payload) { p.Features = append(p.Features, "zz") },
		"no features member":  func(p *Payload) { p.Features = nil },
		"features to version": func(p *Payload) { p.Features = []string{EveryFeature} },
		"version":             func(p *Payload) { p.V = 2 - p.V },
		"an id":               func(p *Payload) { p.ID = "6b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11" },
		"an issuer":           func(p *Payload) { p.Issuer = "Evil Inc." },
		"not_before":          func(p *Payload) { p.NotBefore = new(int64(0)) },
		"grace":               func(p *Payload) { p.Grace = new(int64(maxInteger)) },
		"a limit":             func(p *Payload) { p.Limits = map[string]int64{"seats": 26} },
		"environment":         func(p *Payload) { p.Environment = "anywhere" },
		"crit":                func(p *Payload) { p.Crit = []string{"grace"} },
	}
	requests := map[string]Request{"plain": request(), "full": full()}
	for _, key := range keyNames {
		signer, v := newSigner(t, key, at(issued)), newVerifier(t, at(issued+100), Config{})
		for kind, r := range requests {
			l := mustSign(t, signer, r)
			if err := v.Verify(l).Err(); err != nil {
				t.Fatalf("%s, %s: %v", key, kind, err)
			}
			for name, change := range changes {
				forged := *l
				forged.Payload = l.Payload.Clone()
				change(&forged.Payload)
				if s := v.Verify(&forged); s.State() != StateInvalid || s.Err() == nil || s.Genuine() {
					t.Errorf("%s, %s: with another %s it is %s", key, kind, name, s.State())
				}
			}
		}
	}
}

// A signature damaged in any byte, or in its length, is refused.
func TestChangedSignaturesDoNotVerify(t *testing.T) {
	v := newVerifier(t, at(issued), Config{})
	for _, key := range keyNames {
		l := mustSign(t, newSigner(t, key, at(issued)), request())
		sig, err := decodeSignature(l.Signature)
		if err != nil {
			t.Fatal(err)
		}
		forge := func(forged []byte) {
			t.Helper()
			bad := *l
			bad.Signature = base64.StdEncoding.EncodeToString(forged)
			if v.Verify(&bad).Genuine() {
				t.Errorf("%s: verifies with the signature %x for %x", key, forged, sig)
			}
		}
		for i := range sig {
			forged := bytes.Clone(sig)
			forged[i] ^= 1 << (i % 8)
			forge(forged)
		}
		forge(sig[:len(sig)-1])
		forge(append(bytes.Clone(sig), 0))
		forge(append([]byte{0}, sig...))
		forge(make([]byte, len(sig)))
	}
}

// A license signed by one key does not verify as another's, even if both are
// trusted: the key id picks the key, and version 2 signs it too.
func TestKeyIDIsBound(t *testing.T) {
	v := newVerifier(t, at(issued), Config{})
	for _, a := range keyNames {
		l := mustSign(t, newSigner(t, a, at(issued)), request())
		for _, b := range keyNames {
			l.KeyID = newSigner(t, b, at(issued)).KeyID()
			if v.Verify(l).Genuine() != (a == b) {
				t.Errorf("signed by %s, presented as signed by %s: genuine is %t", a, b, a != b)
			}
		}
	}
}

// The reason is the first that fails in the order form → key → signature.
func TestReasons(t *testing.T) {
	rsaKey, edKey := testKey(t, "rsa").Public(), testKey(t, "ed25519").Public()
	good := mustSign(t, newSigner(t, "ed25519", at(issued)), full())
	badSignature := func(l *License) { l.Signature = base64.StdEncoding.EncodeToString(make([]byte, 64)) }
	for _, c := range []struct {
		name   string
		config Config
		change func(l *License)
		reason Reason
		field  string
	}{
		{"good", Config{}, func(*License) {}, "", ""},
		{"form before key", Config{Keys: newKeySet(t)}, func(l *License) { l.Payload.Type = "trial" }, ReasonForm, "payload.type"},
		{"base64 before key", Config{Keys: newKeySet(t)}, func(l *License) { l.Signature = "!" }, ReasonForm, "signature"},
		{"crit before key", Config{Keys: newKeySet(t)}, func(l *License) { l.Payload.Crit = []string{"grace", "seats"} }, ReasonForm, "payload.crit[1]"},
		{"hosts before key", Config{Keys: newKeySet(t)}, func(l *License) { l.Payload.AllowedHosts = []string{"*bad"} }, ReasonForm, "payload.allowed_hosts"},
		{"unknown key", Config{Keys: newKeySet(t, TrustedKey{Key: rsaKey})}, badSignature, ReasonUnknownKey, "key_id"},
		{"no key", Config{Keys: newKeySet(t)}, badSignature, ReasonUnknownKey, "key_id"},
		{"revoked key", Config{Keys: newKeySet(t, TrustedKey{Key: edKey, Revoked: true})}, badSignature, ReasonRevokedKey, "key_id"},
		{"retired key", Config{Keys: newKeySet(t, TrustedKey{Key: edKey, NotAfterIssue: time.Unix(issued, 0)})}, badSignature, ReasonRetiredKey, "key_id"},
		{"key retired later", Config{Keys: newKeySet(t, TrustedKey{Key: edKey, NotAfterIssue: time.Unix(issued+1, 0)})}, func(*License) {}, "", ""},
		{"signature before revoked id", Config{RevokedIDs: []string{licenseID}}, badSignature, ReasonSignature, "signature"},
		{"revoked id", Config{RevokedIDs: []string{strings.ToUpper(licenseID)}}, func(*License) {}, ReasonRevokedID, "payload.id"},
		{"another revoked id", Config{RevokedIDs: []string{"00000000-0000-0000-0000-000000000000"}}, func(*License) {}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := *good
			l.Payload = good.Payload.Clone()
			c.change(&l)
			// The license has ended long ago: time comes after all of these.
			s := newVerifier(t, at(maxInteger), c.config).Verify(&l)
			if c.reason == "" {
				wantError(t, s.Err(), ReasonExpired, "", "ended")
				return
			}
			wantError(t, s.Err(), c.reason, c.field, "")
			want := StateInvalid
			if c.reason == ReasonRevokedID {
				want = StateRevoked
			}
			if s.State() != want || s.License() == nil {
				t.Errorf("state %s, license %v; want %s, and the license to look at", s.State(), s.License(), want)
			}
		})
	}
}

// A UUID is the same in capitals.
func TestRevokedIDInCapitals(t *testing.T) {
	r := full()
	r.ID = strings.ToUpper(licenseID)
	l := mustSign(t, newSigner(t, "ed25519", at(issued)), r)
	err := newVerifier(t, at(issued+60), Config{RevokedIDs: []string{licenseID}}).Verify(l).Err()
	wantError(t, err, ReasonRevokedID, "payload.id", "has been revoked")
}

func TestCrit(t *testing.T) {
	for name, c := range map[string]struct {
		crit, understands []string
		ok                bool
	}{
		"enforced here":            {[]string{"id", "issuer", "not_before", "grace", "features"}, nil, true},
		"shown only":               {[]string{"limits"}, nil, false},
		"enforced by the program":  {[]string{"limits", "environment"}, []string{"environment", "limits"}, true},
		"unheard of":               {[]string{"grace", "dongle"}, nil, false},
		"unheard of in the format": {[]string{"dongle"}, []string{"dongle"}, true},
		"case matters":             {[]string{"Grace"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			r.Crit = c.crit
			l := mustSign(t, newSigner(t, "ecdsa", at(issued)), r)
			if err := newVerifier(t, at(issued), Config{Understands: c.understands}).Verify(l).Err(); (err == nil) != c.ok {
				t.Errorf("%v, want it to pass: %t", err, c.ok)
			}
		})
	}
}

func TestVerifierKeepsItsOwnLicense(t *testing.T) {
	l := mustSign(t, newSigner(t, "rsa", at(issued)), full())
	s := newVerifier(t, at(issued+100), Config{}).Verify(l)
	l.Payload.AllowedHosts[0] = "*"
	*l.Payload.Grace = maxInteger
	s.License().Payload.AllowedHosts[1] = "*"
	if err := s.Check("evil.example"); err == nil || s.License().Payload.AllowedHosts[0] == "*" || s.License().Payload.AllowedHosts[1] == "*" {
		t.Errorf("the validity changed with the caller's copy: %v, %v", err, s.License())
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"revoked id": {RevokedIDs: []string{"7"}},
		"warn":       {Warn: -time.Second},
		"grace":      {Grace: -time.Second},
	} {
		if v, err := NewVerifier(c); err == nil || v != nil {
			t.Errorf("%s: %v, %v; want an error", name, v, err)
		}
	}
	v, err := NewVerifier(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if s := v.Open(readFile(t, "v1-salt-32.json")); s.State() != StateInvalid {
		t.Errorf("the zero configuration finds a license %s", s.State())
	}
}

func TestText1(t *testing.T) {
	p := Payload{Type: OSS, IssuedAt: -1, ExpireAt: 2, AllowedHosts: []string{"a.org"}, Description: "Acme"}
	if got, want := p.text1(), "oss:-1:2:a.org:Acme"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.AllowedHosts = append(p.AllowedHosts, "*.b.org")
	p.Features = []string{"a", "b-1"}
	if got, want := p.text1(), "oss:-1:2:a.org,*.b.org:Acme:a,b-1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParse1(t *testing.T) {
	for text, want := range map[string]Payload{
		"oss:1:2:a:b":         {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b"},
		"oss:1:2:a,b:c":       {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a", "b"}, Description: "c"},
		"oss:1:2::":           {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{""}, Description: ""},
		"oss:1:2:a:b:c":       {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b", Features: []string{"c"}},
		"oss:1:2:a:b:c,d-1":   {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b", Features: []string{"c", "d-1"}},
		"oss:1:2:a:b:c:d":     {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b:c", Features: []string{"d"}},
		"oss:1:2:a:b: c":      {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b: c"},
		"oss:1:2:a:b:c:":      {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b:c:"},
		"oss:1:2:a:b:c,":      {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b:c,"},
		"oss:1:2:a:b:-c":      {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b:-c"},
		"oss:1:2:a:b:C":       {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b:C"},
		"oss:1:2:a:b:c\n":     {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "b:c\n"},
		"oss:1:2:a::c":        {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "", Features: []string{"c"}},
		"oss:1:2:a:feature-x": {Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a"}, Description: "feature-x"},
	} {
		if got, ok := parse1(text); !ok || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %+v, %t; want %+v", text, got, ok, want)
		}
	}
	if f, ok := parse1("oss:1:2:a"); ok {
		t.Errorf("a text of four fields reads as %+v", f)
	}
}

// The pairs share their text, and the guard lets at most one of each pass.
func TestGuardDecidesBetweenTwins(t *testing.T) {
	type pair struct {
		name string
		a, b Payload
	}
	make1 := func(description string, features []string, hosts ...string) Payload {
		return Payload{Type: Enterprise, IssuedAt: 1, ExpireAt: 2, AllowedHosts: hosts, Description: description, Features: features}
	}
	for _, p := range []pair{
		{"feature or description", make1("Acme:prod", nil, "a"), make1("Acme", []string{"prod"}, "a")},
		{"features or description", make1("Acme:a,b", nil, "a"), make1("Acme", []string{"a", "b"}, "a")},
		{"two hosts or one", make1("Acme", nil, "a,b"), make1("Acme", nil, "a", "b")},
		{"host or description", make1("Acme", nil, "a:b"), make1("b:Acme", nil, "a")},
		{"host, description and features", make1("x", []string{"y"}, "a:b c"), make1("b c:x", []string{"y"}, "a")},
		{"features holding a comma", make1("Acme", []string{"a,b"}, "a"), make1("Acme", []string{"a", "b"}, "a")},
		{"features holding a colon", make1("Acme", []string{"a:b"}, "a"), make1("Acme:a", []string{"b"}, "a")},
		{"none or no features", make1("Acme", []string{}, "a"), make1("Acme", nil, "a")},
	} {
		t.Run(p.name, func(t *testing.T) {
			if p.a.text1() != p.b.text1() {
				t.Fatalf("no twins: %q and %q", p.a.text1(), p.b.text1())
			}
			a, b := p.a.check(), p.b.check()
			if a == nil && b == nil {
				t.Errorf("both pass with the text %q", p.a.text1())
			}
		})
	}
}

func TestGuardMessages(t *testing.T) {
	p := Payload{Type: Enterprise, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a.org"}, Description: "Acme:prod"}
	wantError(t, p.check(), ReasonForm, "payload.description", "put a space after ':'")
	for description, ok := range map[string]bool{
		"Acme: prod": true, "Acme :prod": false, "Acme:Prod": true, "Acme: a:b": false, "Acme::": true, "12:30 Uhr": true, "12:30": false,
		"Acme:prod, eu": true, "Acme:prod,eu": false, "Acme:prod.": true, strings.Repeat(":", 200): true,
	} {
		p.Description = description
		if err := p.check(); (err == nil) != ok {
			t.Errorf("%q: %v, want it to pass: %t", description, err, ok)
		}
		p.Features = []string{"x"}
		if err := p.check(); err != nil {
			t.Errorf("%q with features, which end the text: %v", description, err)
		}
		p.Features = nil
	}
}
