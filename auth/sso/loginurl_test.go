package sso

import (
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// providers are accounts at each kind of provider, with endpoints as these have
// them.
var providers = map[string]func(*Account){
	"none": func(a *Account) { a.Preset = "" },
	"oidc": func(a *Account) {
		a.AuthorizationEndpoint = "https://login.acme.example/authorize?tenant=a%20b&p=B2C_1"
	},
	"auth0": func(a *Account) {
		a.AuthorizationEndpoint = "https://acme.eu.auth0.com/authorize"
		a.Params = map[string]string{"connection": "acme-saml", "organization": "org_1"}
	},
	"cognito": func(a *Account) {
		a.AuthorizationEndpoint = "https://acme.auth.eu-west-1.amazoncognito.com/oauth2/authorize"
		a.Params = map[string]string{"identity_provider": "Acme AD & more"}
	},
	"entra": func(a *Account) {
		a.AuthorizationEndpoint = "https://login.microsoftonline.com/8b2f0c7e-6d0c-4c7e-9d0a-1f2e3d4c5b6a/oauth2/v2.0/authorize"
		a.Params = map[string]string{"domain_hint": "acme.example"}
		a.Scopes = []string{"openid", "api://license/.default"}
	},
	"google": func(a *Account) {
		a.AuthorizationEndpoint = "https://accounts.google.com/o/oauth2/v2/auth"
		a.Params = map[string]string{"hd": "acme.example"}
	},
	"keycloak": func(a *Account) {
		a.AuthorizationEndpoint = "https://login.acme.example/realms/acme/protocol/openid-connect/auth"
		a.Params = map[string]string{"kc_idp_hint": "acme-saml"}
	},
	"okta": func(a *Account) {
		a.AuthorizationEndpoint = "https://acme.okta.com/oauth2/default/v1/authorize"
		a.Params = map[string]string{"idp": "0oa1b2c3"}
		a.ClientID = "0oa + id"
	},
}

// TestGolden compares whole addresses, for each preset and response type.
func TestGolden(t *testing.T) {
	for _, name := range append(Presets, "none") {
		edit := providers[name]
		if edit == nil {
			t.Fatalf("no account for the preset %q", name)
		}
		for _, responseType := range []string{ResponseTypeCode, ResponseTypeToken} {
			t.Run(name+"_"+responseType, func(t *testing.T) {
				s := service(t, withAccount(func(a *Account) { a.Preset = name; edit(a) }))
				u := wantURL(t, s, signed(query("response_type", responseType, "state", testState, "nonce", testNonce)))
				sent := map[string]string{ResponseTypeCode: "code", ResponseTypeToken: "id_token token"}[responseType]
				if name == "cognito" {
					sent = responseType
				}
				if got := u.Query().Get("response_type"); got != sent {
					t.Errorf("response_type %q, want %q", got, sent)
				}
				golden(t, name+"_"+responseType, u.String())
			})
		}
	}
}

// TestGoldenWishes has all that a request may wish for.
func TestGoldenWishes(t *testing.T) {
	u := wantURL(t, service(t), signed(query(
		"response_type", "code", "redirect_uri", "http://127.0.0.1:52001/callback",
		"state", `a b&c=d+e"<é>%/?#`, "nonce", "ключ\r\n",
		"code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method", "S256")))
	golden(t, "wishes", u.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".url")
	if *update {
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestNoStrayGoldens: every golden file belongs to a test.
func TestNoStrayGoldens(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*"))
	if err != nil || len(files) != 2*(len(Presets)+1)+1 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// TestDefaults: what is sent where neither request nor account says otherwise.
func TestDefaults(t *testing.T) {
	u := wantURL(t, service(t), signed(askAcme))
	got := u.Query()
	for name, want := range map[string]string{
		"client_id": "license-users", "redirect_uri": "https://app.example.com/sso",
		"scope": "openid email profile", "response_type": "id_token token",
	} {
		if got.Get(name) != want {
			t.Errorf("%s %q, want %q", name, got.Get(name), want)
		}
	}
	if len(got) != 6 {
		t.Errorf("parameters %v", got)
	}
	codeFirst := service(t, withAccount(func(a *Account) { a.ResponseType = ResponseTypeCode }))
	if got := wantURL(t, codeFirst, signed(askAcme)).Query().Get("response_type"); got != "code" {
		t.Errorf("response_type %q", got)
	}
	if got := wantURL(t, codeFirst, signed(query("response_type", "token"))).Query().Get("response_type"); got != "id_token token" {
		t.Errorf("response_type %q", got)
	}
}

// TestRandom: state and nonce have 128 bits each, and never come again.
func TestRandom(t *testing.T) {
	s := service(t)
	seen := map[string]bool{}
	for range 500 {
		got := wantURL(t, s, signed(askAcme)).Query()
		for _, name := range []string{"state", "nonce"} {
			raw, err := base64.RawURLEncoding.DecodeString(got.Get(name))
			if err != nil || len(raw) != 16 || seen[got.Get(name)] {
				t.Fatalf("%s %q: %v, %v", name, got.Get(name), err, seen[got.Get(name)])
			}
			seen[got.Get(name)] = true
		}
	}
	got := wantURL(t, s, signed(query("state", testState))).Query()
	if got.Get("state") != testState || len(got.Get("nonce")) != 22 {
		t.Errorf("state %q, nonce %q", got.Get("state"), got.Get("nonce"))
	}
}

// TestEncoded: whatever a request brings, it stays within its parameter.
func TestEncoded(t *testing.T) {
	s := service(t)
	for _, text := range []string{
		"a b", "a+b", "a%20b", "a&b=c", "a;b", "a#b", "a?b", "a/../b", `"><script>`, "a'b", "\r\nLocation: x", "\x00", "\x7f",
		"ü", "日本", "\xff\xfe", "a\u2028b", "&redirect_uri=https://evil.example", "{env.HOME}", "..", "~-._", strings.Repeat("&", maxValueBytes),
	} {
		u := wantURL(t, s, signed(query("state", text, "nonce", text)))
		got, err := url.ParseQuery(u.RawQuery)
		if err != nil || len(got) != 6 || got.Get("state") != text || got.Get("nonce") != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if !isPlainURL(u.String()) || strings.ContainsAny(u.RawQuery, "+;'()*") || u.Fragment != "" {
			t.Errorf("%q: not encoded in %s", text, u)
		}
		if u.Host != "login.acme.example" || u.Path != "/authorize" {
			t.Errorf("%q: leads to %s", text, u)
		}
	}
}

// TestValues are refused where an address would not bear them.
func TestValues(t *testing.T) {
	s := service(t)
	const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	for name, q := range map[string]string{
		"empty state":               query("state", ""),
		"empty nonce":               query("nonce", ""),
		"empty response type":       query("response_type", ""),
		"empty redirect":            query("redirect_uri", ""),
		"empty challenge":           query("code_challenge", "", "code_challenge_method", "S256"),
		"long state":                query("state", strings.Repeat("s", maxValueBytes+1)),
		"long query":                query("state", strings.Repeat("s", maxQueryBytes)),
		"64 KiB":                    query("state", strings.Repeat("%", 64<<10)),
		"challenge alone":           query("code_challenge", challenge),
		"method alone":              query("code_challenge_method", "S256"),
		"plain":                     query("code_challenge", challenge, "code_challenge_method", "plain"),
		"method in another case":    query("code_challenge", challenge, "code_challenge_method", "s256"),
		"short challenge":           query("code_challenge", challenge[1:], "code_challenge_method", "S256"),
		"long challenge":            query("code_challenge", challenge+"A", "code_challenge_method", "S256"),
		"challenge with padding":    query("code_challenge", challenge[1:]+"=", "code_challenge_method", "S256"),
		"challenge beyond ASCII":    query("code_challenge", challenge[2:]+"é", "code_challenge_method", "S256"),
		"response type in capitals": query("response_type", "CODE"),
		"two response types":        query("response_type", "code token"),
		"repeated state":            query("state", "a", "state", "a"),
		"repeated, once empty":      askAcme + "&product=",
		"unknown without a value":   askAcme + "&x",
		"no name":                   askAcme + "&=x",
		"bad escape":                askAcme + "&state=%zz",
		"bad escape in a name":      askAcme + "&%zz=x",
		"semicolon":                 askAcme + "&state=x;y",
		"client_id":                 query("client_id", "mine"),
		"scope":                     query("scope", "admin"),
		"of the account":            query("kc_idp_hint", "x"),
		"with brackets":             query("state[]", "x"),
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, s, signed(q), CodeValidation) })
	}
	for name, q := range map[string]string{
		"bad product":       "product=%zz&customer_account_code=acme",
		"semicolons":        "product=app;customer_account_code=acme",
		"only another one":  "x=1",
		"ampersands":        strings.Repeat("&", 1000),
		"bytes":             "\x00\xff",
		"names in capitals": "PRODUCT=app&CUSTOMER_ACCOUNT_CODE=acme",
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, s, signed(q), CodeMissingParameters) })
	}
}

// TestChallenge: PKCE is the client's, and passed on.
func TestChallenge(t *testing.T) {
	const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	for _, responseType := range []string{"code", "token"} {
		got := wantURL(t, service(t), signed(query("response_type", responseType, "code_challenge", challenge, "code_challenge_method", "S256"))).Query()
		if got.Get("code_challenge") != challenge || got.Get("code_challenge_method") != "S256" {
			t.Errorf("%s: %v", responseType, got)
		}
	}
}

func testNonces() nonces { return nonces{key: []byte(strings.Repeat("k", minNonceKey))} }

// A nonce is known for the product and the account that it was made for, with the
// client's own in front of it.
func TestNonces(t *testing.T) {
	n, at := testNonces(), time.Unix(1_800_000_000, 0)
	for _, own := range []string{"", "own", "a.b", "."} {
		nonce := n.make("app", "acme", own, randomText(), at)
		if begun, ok := n.begun("app", "acme", nonce); !ok || !begun.Equal(at) || own != "" && !strings.HasPrefix(nonce, own+".") {
			t.Errorf("%q: got %s, %t", nonce, begun, ok)
		}
		for name, known := range map[string]func() (time.Time, bool){
			"another product": func() (time.Time, bool) { return n.begun("other", "acme", nonce) },
			"another account": func() (time.Time, bool) { return n.begun("app", "other", nonce) },
			"swapped":         func() (time.Time, bool) { return n.begun("acme", "app", nonce) },
			"another key":     func() (time.Time, bool) { return nonces{[]byte(strings.Repeat("x", 32))}.begun("app", "acme", nonce) },
			"no key":          func() (time.Time, bool) { return nonces{}.begun("app", "acme", nonce) },
			"more in front":   func() (time.Time, bool) { return n.begun("app", "acme", "x."+nonce) },
			"cut":             func() (time.Time, bool) { return n.begun("app", "acme", nonce[:len(nonce)-1]) },
		} {
			if _, ok := known(); ok {
				t.Errorf("%q is taken with %s", nonce, name)
			}
		}
	}
}

// FuzzNonce: nothing is taken but what was made.
func FuzzNonce(f *testing.F) {
	n, at := testNonces(), time.Unix(1_800_000_000, 0)
	good := n.make("app", "acme", "own", strings.Repeat("r", nonceRandom), at)
	for _, seed := range []string{good, good[4:], "own." + good, "", ".", strings.Repeat("A", 54), good + "=", strings.ToLower(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, nonce string) {
		begun, ok := n.begun("app", "acme", nonce)
		if ok && (nonce != good || !begun.Equal(at)) {
			t.Errorf("%q is taken", nonce)
		}
	})
}
