package issuer

import (
	"crypto/elliptic"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bundle is a SPIFFE trust domain's, with what it says about itself.
func bundle(t *testing.T, more map[string]any, keys ...any) []byte {
	t.Helper()
	document := map[string]any{"keys": keys, "spiffe_sequence": 7}
	for name, value := range more {
		document[name] = value
	}
	data, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Of a bundle only the keys for JWT-SVIDs count; what is no bundle is a set as any
// other (the trust domain's OpenID provider).
func TestBundle(t *testing.T) {
	svid := edKey("jwt").with("use", "jwt-svid").with("alg", nil)
	x509 := ecKey("", elliptic.P256()).with("use", "x509-svid").with("kid", nil).with("x5c", []string{"MIIB"})
	plain := edKey("plain").with("use", nil)
	for _, c := range []struct {
		name   string
		spiffe bool
		keys   []any
		want   string
	}{
		{"a bundle", true, []any{x509, svid, plain, edKey("sig")}, "jwt"},
		{"a bundle without keys for JWT-SVIDs", true, []any{x509, plain}, ""},
		{"no bundle", true, []any{plain, edKey("sig"), edKey("enc").with("use", "enc")}, "plain sig"},
		{"a bundle of another issuer", false, []any{x509, svid, plain}, "plain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, warnings, err := Config{SPIFFE: c.spiffe}.ParseJWKS(bundle(t, nil, c.keys...))
			if err != nil || len(warnings) > 0 {
				t.Fatal(err, warnings)
			}
			var ids []string
			for _, key := range set.All() {
				ids = append(ids, key.ID())
			}
			equal(t, "keys", strings.Join(ids, " "), c.want)
			if len(set.All()) == 0 {
				return
			}
			kept, err := set.encode()
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := Config{SPIFFE: c.spiffe}.ParseJWKS(kept)
			if err != nil || len(again.All()) != len(set.All()) {
				t.Errorf("kept as %s: %v", kept, err)
			}
		})
	}
	if _, _, err := (Config{SPIFFE: true}).parseUsable(bundle(t, nil, x509)); err == nil || !strings.Contains(err.Error(), "no key for signatures") {
		t.Errorf("a bundle without keys for JWT-SVIDs: %v", err)
	}
}

// A bundle may ask to be fetched again sooner than the configuration says, and never
// later, nor all the time.
func TestRefreshHint(t *testing.T) {
	for _, c := range []struct {
		hint any
		want time.Duration
	}{
		{60, time.Minute}, {1, MinRefresh}, {86400 * 365, 15 * time.Minute}, {0, 15 * time.Minute}, {-5, 15 * time.Minute}, {"60", 15 * time.Minute}, {1e300, 15 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite("https://spire.example.com", edKey("a"))
			s.keys = bundle(t, map[string]any{"spiffe_refresh_hint": c.hint}, edKey("a").with("use", "jwt-svid"))
			e := start(t, Config{Issuer: "spiffe://acme.example", JWKSURI: s.base + "/bundle", SPIFFE: true}, Options{Client: s.client()})
			e.Attach(Host{})
			synctest.Wait()
			e.mu.Lock()
			wait := time.Until(e.keys.next)
			e.mu.Unlock()
			if wait < c.want*9/10 || wait > c.want*11/10 {
				t.Errorf("hint %v: fetched again in %s, expected about %s", c.hint, wait, c.want)
			}
			_ = e.Close()
		})
	}
}

// The metadata that all tenants share name the issuer with the placeholder.
func TestDiscoveryForAllTenants(t *testing.T) {
	s := serve(t, edKey("a"))
	template := s.base + "/{tenantid}/v2.0"
	asked := make(chan string, 8)
	s.do(func() { s.asked, s.meta["issuer"] = asked, template })
	e := start(t, Config{Issuer: template}, Options{})
	if _, err := e.Await(t.Context(), holds("a")); err != nil {
		t.Fatal(err)
	}
	equal(t, "asked", <-asked, "/common/v2.0/.well-known/openid-configuration")
	s.do(func() { s.meta["issuer"] = s.base + "/common/v2.0" })
	wrong := start(t, Config{Issuer: template}, Options{})
	if _, err := wrong.Await(t.Context(), holds("a")); err == nil || !strings.Contains(err.Error(), "must be equal") {
		t.Errorf("metadata of one tenant: %v", err)
	}
}

func TestTrustDomainHasNoMetadata(t *testing.T) {
	err := Config{Issuer: "spiffe://acme.example"}.Validate()
	if err == nil || !strings.Contains(err.Error(), "set jwks_uri to where its bundle is, or jwks_file") {
		t.Errorf("got %v", err)
	}
	if (Config{Issuer: "a", JWKSFile: "f"}).ID() == (Config{Issuer: "a", JWKSFile: "f", SPIFFE: true}).ID() {
		t.Error("a bundle and a set share an engine")
	}
}

// FuzzParseBundle: whatever a bundle holds beside them, only keys for JWT-SVIDs are
// taken of it.
func FuzzParseBundle(f *testing.F) {
	f.Add(setOf(edKey("a").with("use", "jwt-svid"), edKey("b"), ecKey("c", elliptic.P256()).with("use", "x509-svid")))
	f.Add([]byte(`{"keys":[],"spiffe_refresh_hint":-1,"spiffe_sequence":"x"}`))
	f.Add([]byte(`{"keys":[{"use":["jwt-svid"]},{"use":"jwt-svid","use":"sig"}],"spiffe_refresh_hint":1e999}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, _, err := Config{SPIFFE: true}.ParseJWKS(data)
		if err != nil {
			return
		}
		if s.refresh < 0 || s.refresh > 24*time.Hour {
			t.Errorf("refresh after %s", s.refresh)
		}
		for _, k := range s.All() {
			checkSound(t, s, k)
			if k.use != s.keys[0].use && (k.use == useJWTSVID || s.keys[0].use == useJWTSVID) || k.use == useX509SVID {
				t.Errorf("keys of the uses %q and %q", k.use, s.keys[0].use)
			}
		}
	})
}
