package license

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A license made by any key opens with the verifier, as it is written to a file.
func TestSignAndOpen(t *testing.T) {
	for _, key := range keyNames {
		for name, r := range map[string]Request{"plain": request(), "full": full()} {
			l := mustSign(t, newSigner(t, key, at(issued)), r)
			s := newVerifier(t, at(issued+60), Config{}).Open(mustEncode(t, l))
			if s.Err() != nil || !reflect.DeepEqual(s.License(), l) {
				t.Errorf("%s, %s: %v, %+v; want %+v", key, name, s.Err(), s.License(), l)
			}
		}
	}
}

func TestSignChoosesTheVersion(t *testing.T) {
	change := func(f func(r *Request)) Request {
		r := request()
		f(&r)
		return r
	}
	ambiguous := change(func(r *Request) { r.Description, r.Features = "Acme:prod", nil })
	ipv6 := change(func(r *Request) { r.AllowedHosts = []string{"2001:db8::1"} })
	for _, c := range []struct {
		name    string
		key     string
		request Request
		asked   int
		version int
		field   string
		want    string
	}{
		{"RSA", "rsa", request(), 0, 1, "", ""},
		{"RSA, 1", "rsa", request(), 1, 1, "", ""},
		{"RSA, 2", "rsa", request(), 2, 2, "", ""},
		{"Ed25519", "ed25519", request(), 0, 2, "", ""},
		{"Ed25519, 1", "ed25519", request(), 1, 0, "version", "the key, which is not RSA"},
		{"ECDSA, 1", "ecdsa", request(), 1, 0, "version", "the key, which is not RSA"},
		{"3", "rsa", request(), 3, 0, "version", "is 3; want 1, 2"},
		{"-1", "rsa", request(), -1, 0, "version", "is -1"},
		{"full", "rsa", full(), 0, 2, "", ""},
		{"full, 1", "rsa", full(), 1, 0, "version", "because of id"},
		{"no features", "rsa", change(func(r *Request) { r.Features = []string{} }), 0, 2, "", ""},
		{"no features, 1", "rsa", change(func(r *Request) { r.Features = []string{} }), 1, 0, "version", "because of features"},
		{"every feature", "rsa", change(func(r *Request) { r.Features = []string{"*"} }), 0, 2, "", ""},
		{"features absent", "rsa", change(func(r *Request) { r.Features = nil }), 1, 1, "", ""},
		{"grace 0", "rsa", change(func(r *Request) { r.Grace = new(int64(0)) }), 0, 2, "", ""},
		{"IPv6", "rsa", ipv6, 0, 2, "", ""},
		{"IPv6, 1", "rsa", ipv6, 1, 0, "version", "IPv6"},
		{"IPv4", "rsa", change(func(r *Request) { r.AllowedHosts = []string{"10.0.0.5"} }), 0, 1, "", ""},
		{"ambiguous", "rsa", ambiguous, 0, 0, "description", "put a space after ':'"},
		{"ambiguous, 2", "rsa", ambiguous, 2, 2, "", ""},
		{"ambiguous, Ed25519", "ed25519", ambiguous, 0, 2, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.request.Version = c.asked
			l, err := newSigner(t, c.key, at(issued)).Sign(c.request)
			if c.field != "" {
				wantError(t, err, ReasonForm, c.field, c.want)
				return
			}
			if err != nil || l.Payload.Version() != c.version {
				t.Fatalf("%+v, %v; want version %d", l, err, c.version)
			}
			if hasID := l.Payload.ID != ""; hasID != (c.version == 2) {
				t.Errorf("id %q in version %d; want one in version 2 only", l.Payload.ID, c.version)
			}
		})
	}
}

// Each bad member is refused under the name that the sign body gives it.
func TestSignRefuses(t *testing.T) {
	many := make([]string, 257)
	for i := range many {
		many[i] = "a.org"
	}
	for _, c := range []struct {
		name   string
		change func(r *Request)
		field  string
		want   string
	}{
		{"no type", func(r *Request) { r.Type = "" }, "license_type", `want "oss" or "enterprise"`},
		{"unknown type", func(r *Request) { r.Type = "trial" }, "license_type", `is "trial"`},
		{"no hosts", func(r *Request) { r.AllowedHosts = nil }, "allowed_hosts", "0 entries"},
		{"257 hosts", func(r *Request) { r.AllowedHosts = many }, "allowed_hosts", "257 entries"},
		{"bad pattern", func(r *Request) { r.AllowedHosts = []string{"a.org", "a.org:8443"} }, "allowed_hosts[1]", "without a port"},
		{"joined hosts", func(r *Request) { r.AllowedHosts = []string{"a.org,b.org"} }, "allowed_hosts[0]", `','`},
		{"public suffix", func(r *Request) { r.AllowedHosts = []string{"*.co.uk"} }, "allowed_hosts[0]", "public suffix"},
		{"private suffix", func(r *Request) { r.AllowedHosts = []string{"*.github.io"} }, "allowed_hosts[0]", "public suffix"},
		{"no description", func(r *Request) { r.Description = "" }, "description", "0 bytes; want 2 to 200"},
		{"long description", func(r *Request) { r.Description = strings.Repeat("a", 201) }, "description", "201 bytes"},
		{"control character", func(r *Request) { r.Description = "Ac\nme" }, "description", "control"},
		{"bad UTF-8", func(r *Request) { r.Description = "Ac\xffme" }, "description", "UTF-8"},
		{"no time", func(r *Request) { r.TTL = 0 }, "expire_at", "is 0s; want at least 1s"},
		{"negative time", func(r *Request) { r.TTL = -time.Hour }, "expire_at", "is -1h0m0s"},
		{"under a second", func(r *Request) { r.TTL = time.Second - 1 }, "expire_at", "want at least 1s"},
		{"over max_ttl", func(r *Request) { r.TTL = 17521 * time.Hour }, "expire_at", "want at most 17520h0m0s"},
		{"longest time", func(r *Request) { r.TTL = math.MaxInt64 }, "expire_at", "want at most 17520h0m0s"},
		{"feature", func(r *Request) { r.Features = []string{"Runbooks"} }, "features[0]", `is "Runbooks"`},
		{"joined features", func(r *Request) { r.Features = []string{"a,b"} }, "features[0]", `is "a,b"`},
		{"* and a feature", func(r *Request) { r.Features = []string{"*", "a"} }, "features[0]", "alone"},
		{"id", func(r *Request) { r.ID = "7" }, "id", "want a UUID"},
		{"not before the end", func(r *Request) { r.NotBefore = new(int64(expires)) }, "not_before", "before expire_at"},
		{"negative grace", func(r *Request) { r.Grace = new(int64(-1)) }, "grace", "0 or more"},
		{"issuer", func(r *Request) { r.Issuer = strings.Repeat("a", 201) }, "issuer", "201 bytes"},
		{"environment", func(r *Request) { r.Environment = "a\x00" }, "environment", "control"},
		{"limits", func(r *Request) { r.Limits = map[string]int64{"seats": 1 << 60} }, "limits.seats", "2^53"},
		{"no limits", func(r *Request) { r.Limits = map[string]int64{} }, "limits", "0 members"},
		{"crit", func(r *Request) { r.Crit = []string{""} }, "crit[0]", `is ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, key := range []string{"rsa", "ed25519"} {
				s, err := NewSigner(SignerConfig{Key: testKey(t, key), MaxTTL: 17520 * time.Hour, Now: at(issued).now})
				if err != nil {
					t.Fatal(err)
				}
				r := request()
				c.change(&r)
				l, err := s.Sign(r)
				if l != nil {
					t.Errorf("signed %+v", l)
				}
				wantError(t, err, ReasonForm, c.field, c.want)
			}
		})
	}
}

// The greatest license that passes all checks can be read again.
func TestSignTheGreatest(t *testing.T) {
	r := full()
	r.AllowedHosts, r.Features = nil, nil
	for i := range maxHosts {
		label := fmt.Sprintf("%063d", i)
		r.AllowedHosts = append(r.AllowedHosts, "*."+strings.Repeat(label+".", 1)+"example.org")
	}
	for i := range maxFeatures {
		r.Features = append(r.Features, fmt.Sprintf("%064d", i))
	}
	l := mustSign(t, newSigner(t, "ed25519", at(issued)), r)
	if s := newVerifier(t, at(issued+60), Config{}).Open(mustEncode(t, l)); s.Err() != nil {
		t.Error(s.Err())
	}
	for i := range r.AllowedHosts {
		label := fmt.Sprintf("%063d.", i)
		r.AllowedHosts[i] = strings.Repeat(label, 3) + "example.org"
	}
	_, err := newSigner(t, "ed25519", at(issued)).Sign(r)
	wantError(t, err, ReasonForm, "", "want at most 65536")
}

func TestSignFeatures(t *testing.T) {
	r := request()
	r.Features = []string{"b", "a", "b"}
	for _, key := range []string{"rsa", "ed25519"} {
		if l := mustSign(t, newSigner(t, key, at(issued)), r); !reflect.DeepEqual(l.Payload.Features, []string{"a", "b"}) {
			t.Errorf("%s: features %q, want them sorted and once each", key, l.Payload.Features)
		}
	}
	if !reflect.DeepEqual(r.Features, []string{"b", "a", "b"}) {
		t.Error("the request was changed")
	}
}

func TestSignGivesEachLicenseItsID(t *testing.T) {
	s := newSigner(t, "ed25519", at(issued))
	a, b := mustSign(t, s, request()).Payload.ID, mustSign(t, s, request()).Payload.ID
	if a == b || !uuidForm.MatchString(a) {
		t.Errorf("ids %q and %q; want two UUIDs", a, b)
	}
	r := request()
	r.ID = strings.ToUpper(licenseID)
	if l := mustSign(t, s, r); l.Payload.ID != r.ID {
		t.Errorf("id %q, want %q", l.Payload.ID, r.ID)
	}
}

// A verifier of hoop's takes no license that is issued in its future, however
// little its clock is behind.
func TestSignStampsAnHourBack(t *testing.T) {
	s, err := NewSigner(SignerConfig{Key: testKey(t, "rsa"), Now: at(issued).now})
	if err != nil {
		t.Fatal(err)
	}
	r := request()
	r.TTL = time.Hour
	if p := mustSign(t, s, r).Payload; p.IssuedAt != issued-3600 || p.ExpireAt != issued+3600 {
		t.Errorf("issued at %d, ends at %d; want an hour before and after %d", p.IssuedAt, p.ExpireAt, issued)
	}
}

func TestMissingKey(t *testing.T) {
	if s, err := NewSigner(SignerConfig{}); s != nil || !errors.Is(err, ErrMissingKey) {
		t.Errorf("%v, %v", s, err)
	}
	var none *Signer
	if l, err := none.Sign(request()); l != nil || !errors.Is(err, ErrMissingKey) || err.Error() != "unable to sign license: missing private key" {
		t.Errorf("%v, %v", l, err)
	}
}

// However a signer is printed, its private key does not show.
func TestSignerHidesItsKey(t *testing.T) {
	for _, key := range keyNames {
		s := newSigner(t, key, at(issued))
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("signer", "p", s, "v", *s)
		slog.New(slog.NewTextHandler(&log, nil)).Info("signer", "p", s, "v", *s)
		want := "license.Signer(" + s.KeyID() + ")"
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			if got := fmt.Sprintf(verb+verb, s, *s); got != want+want {
				t.Errorf("%s prints %s", verb, got)
			}
		}
		if got := mustJSON(t, s) + mustJSON(t, *s); got != "{}{}" {
			t.Errorf("JSON %s", got)
		}
		if secret := fmt.Sprintf("%v", testKey(t, key)); strings.Contains(log.String(), secret) || !strings.Contains(log.String(), s.KeyID()) {
			t.Errorf("log %s", log.String())
		}
	}
}

func TestSignerPublic(t *testing.T) {
	s := newSigner(t, "ecdsa", at(issued))
	id, err := KeyID(s.Public())
	if err != nil || id != s.KeyID() {
		t.Errorf("%s, %v; want %s", id, err, s.KeyID())
	}
}

func TestParseTTL(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"8760h": 8760 * time.Hour, "365d": 365 * day, "1d12h": 36 * time.Hour, "0d1s": time.Second, "1h30m": 90 * time.Minute,
		"-1h": -time.Hour, "0": 0, "0d": 0, "106751d": 106751 * day, "1.5h": 90 * time.Minute,
	} {
		if got, err := ParseTTL(s); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "d", "1", "1y", "1.5d", "-1d", "+1d", " 1d", "1d ", "1d1d", "01d", "1d-1h", "1d+1h", "1dd", "106752d", "106751d24h", "99999999999999999999d", "1e3h", "9999999999h",
		strings.Repeat("9", 65),
	} {
		got, err := ParseTTL(s)
		if err == nil {
			t.Errorf("%q: %s, want an error", s, got)
			continue
		}
		wantError(t, err, ReasonForm, "expire_at", "want")
	}
}
