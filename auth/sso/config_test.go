package sso

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestConfigurationErrors: each names the field, what was found, and what would
// be right; none holds a shared key.
func TestConfigurationErrors(t *testing.T) {
	one := func(edit func(*Account)) func(*Config) { return withAccount(edit) }
	key := func(edit func(*Credential)) func(*Config) { return func(cfg *Config) { edit(&cfg.Credentials[0]) } }
	for name, c := range map[string]struct {
		edit func(*Config)
		want []string
	}{
		"no product":         {func(cfg *Config) { cfg.Products = nil }, []string{"product", "missing", "at least one"}},
		"empty product":      {func(cfg *Config) { cfg.Products[0] = "" }, []string{"product", "empty"}},
		"no account":         {func(cfg *Config) { cfg.Accounts = nil }, []string{"account", "missing"}},
		"negative skew":      {func(cfg *Config) { cfg.MaxSkew = -time.Second }, []string{"max_skew", "-1s", "between"}},
		"skew of a week":     {func(cfg *Config) { cfg.MaxSkew = 7 * 24 * time.Hour }, []string{"max_skew", "168h", "24h"}},
		"negative rate":      {func(cfg *Config) { cfg.RateLimit = -1 }, []string{"rate_limit", "-1", "1 or more"}},
		"short key":          {func(cfg *Config) { cfg.ResponseSigningKey = shortKey() }, []string{"response_signing_key", "1024", "2048"}},
		"empty API key":      {key(func(c *Credential) { c.APIKey = "" }), []string{"API key", "empty"}},
		"API key with \"":    {key(func(c *Credential) { c.APIKey = `a"b` }), []string{"API key", "visible ASCII"}},
		"API key with \\":    {key(func(c *Credential) { c.APIKey = `a\b` }), []string{"API key", "visible ASCII"}},
		"API key, blank":     {key(func(c *Credential) { c.APIKey = "a b" }), []string{"API key", "visible ASCII"}},
		"API key, é":         {key(func(c *Credential) { c.APIKey = "é" }), []string{"API key", "visible ASCII"}},
		"long API key":       {key(func(c *Credential) { c.APIKey = strings.Repeat("a", 300) }), []string{"API key", "300", "256"}},
		"no shared key":      {key(func(c *Credential) { c.SharedKey = NewSecret("") }), []string{testKey, "shared key", "empty"}},
		"zero secret":        {key(func(c *Credential) { c.SharedKey = Secret{} }), []string{testKey, "shared key", "empty"}},
		"unknown product":    {key(func(c *Credential) { c.Products = []string{"nope"} }), []string{testKey, "product", "nope", "app"}},
		"unknown account":    {key(func(c *Credential) { c.Accounts = []string{"nope"} }), []string{testKey, "account", "nope"}},
		"key twice":          {func(cfg *Config) { cfg.Credentials = append(cfg.Credentials, cfg.Credentials[0]) }, []string{testKey, "twice", "once"}},
		"account twice":      {func(cfg *Config) { cfg.Accounts = append(cfg.Accounts, cfg.Accounts[0]) }, []string{"acme", "twice", "once"}},
		"no code":            {one(func(a *Account) { a.Code = "" }), []string{"code", "0 bytes"}},
		"long code":          {one(func(a *Account) { a.Code = strings.Repeat("a", 300) }), []string{"code", "300 bytes", "256"}},
		"short nonce key":    {func(cfg *Config) { cfg.NonceKey = NewSecret("short") }, []string{"key of nonces", "32"}},
		"login without keys": {one(func(a *Account) { a.Activates = true }), []string{"acme", "issuer", "required"}},
		"no client":          {one(func(a *Account) { a.ClientID = "" }), []string{"acme", "client_id", "empty"}},
		"foreign product":    {one(func(a *Account) { a.Products = []string{"nope"} }), []string{"acme", "product", "nope", "app"}},
		"own param":          {one(func(a *Account) { a.Params = map[string]string{"state": "x"} }), []string{"acme", "param", "state", "remove"}},
		"nameless param":     {one(func(a *Account) { a.Params = map[string]string{"": "x"} }), []string{"acme", "param", "empty"}},
		"unknown preset":     {one(func(a *Account) { a.Preset = "keycloack" }), []string{"acme", "preset", "keycloack", "keycloak", "okta"}},
		"response type":      {one(func(a *Account) { a.ResponseType = "id_token" }), []string{"acme", "response_type", "id_token", "code"}},
		"implicit off":       {one(func(a *Account) { a.NoImplicitFlow = true }), []string{"acme", "implicit", "response_type"}},
		"bad scope":          {one(func(a *Account) { a.Scopes = []string{"openid profile"} }), []string{"acme", "scope", "openid profile"}},
		"empty scope":        {one(func(a *Account) { a.Scopes = []string{""} }), []string{"acme", "scope"}},
		"no openid":          {one(func(a *Account) { a.Scopes = []string{"email"} }), []string{"acme", "scope", "email", "openid"}},
		"no redirect":        {one(func(a *Account) { a.RedirectURIs = nil }), []string{"acme", "redirect_uri", "missing"}},
		"http redirect":      {one(func(a *Account) { a.RedirectURIs[0] = "http://app.example.com/" }), []string{"acme", "redirect_uri", "http://app.example.com/", "https"}},
		"no endpoint":        {one(func(a *Account) { a.AuthorizationEndpoint = "" }), []string{"acme", "issuer", "authorization_endpoint"}},
		"two endpoints":      {one(func(a *Account) { a.Metadata = &fakeSource{} }), []string{"acme", "issuer", "authorization_endpoint", "both"}},
		"http endpoint":      {one(func(a *Account) { a.AuthorizationEndpoint = "http://login.example/a" }), []string{"acme", "authorization_endpoint", "http://login.example/a", "https"}},
		"no URL":             {one(func(a *Account) { a.AuthorizationEndpoint = "https://a b/" }), []string{"authorization_endpoint", "not a URL"}},
		"relative":           {one(func(a *Account) { a.AuthorizationEndpoint = "/authorize" }), []string{"authorization_endpoint", "absolute"}},
		"ftp":                {one(func(a *Account) { a.AuthorizationEndpoint = "ftp://login.example/a" }), []string{"authorization_endpoint", "absolute"}},
		"user in endpoint":   {one(func(a *Account) { a.AuthorizationEndpoint = "https://u@login.example/a" }), []string{"authorization_endpoint", "user information"}},
		"fragment":           {one(func(a *Account) { a.AuthorizationEndpoint = "https://login.example/a#" }), []string{"authorization_endpoint", "fragment"}},
		"odd query":          {one(func(a *Account) { a.AuthorizationEndpoint = "https://login.example/a?b;c" }), []string{"authorization_endpoint", "query"}},
		"parameter twice":    {one(func(a *Account) { a.AuthorizationEndpoint = "https://login.example/a?client_id=x" }), []string{"authorization_endpoint", "client_id", "twice"}},
		"param twice": {one(func(a *Account) {
			a.AuthorizationEndpoint, a.Params = "https://login.example/a?idp=x", map[string]string{"idp": "y"}
		}), []string{"authorization_endpoint", "idp", "twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			c.edit(&cfg)
			s, err := New(cfg)
			if err == nil || s != nil {
				t.Fatalf("made %v, %v", s, err)
			}
			for _, word := range c.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), testShared) {
				t.Errorf("%q holds the shared key", err)
			}
		})
	}
}

// TestGoodConfigurations: what the errors above ask for is taken.
func TestGoodConfigurations(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"no credential":        func(cfg *Config) { cfg.Credentials = nil },
		"code without openid":  withAccount(func(a *Account) { a.Scopes, a.ResponseType, a.NoImplicitFlow = []string{"email"}, "code", true }),
		"cognito's own scopes": withAccount(func(a *Account) { a.Scopes, a.Preset = []string{"aws.cognito.signin.user.admin"}, "cognito" }),
		"endpoint on loopback": withAccount(func(a *Account) { a.AuthorizationEndpoint = "http://127.0.0.1:8080/authorize" }),
		"endpoint's own query": withAccount(func(a *Account) { a.AuthorizationEndpoint += "?p=policy" }),
	} {
		cfg := testConfig()
		edit(&cfg)
		if _, err := New(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClockAndSkewByDefault: a service of today takes a date of today.
func TestClockAndSkewByDefault(t *testing.T) {
	s := service(t, func(cfg *Config) { cfg.Now = nil })
	if s.maxSkew != DefaultMaxSkew || time.Since(s.now()).Abs() > time.Hour {
		t.Errorf("skew %s, clock %s", s.maxSkew, s.now())
	}
	wantCode(t, s, signed(askAcme), CodeDateDiff)
}

// TestCallersSlices: a configuration changed later changes nothing.
func TestCallersSlices(t *testing.T) {
	cfg := testConfig()
	cfg.Accounts[0].Params = map[string]string{"idp": "x"}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Products[0] = "changed"
	cfg.Accounts[0].Params["client_id"] = "changed"
	cfg.Accounts[0].RedirectURIs[0] = "https://evil.example"
	u := wantURL(t, s, signed(askAcme))
	if strings.Contains(u.String(), "changed") || strings.Contains(u.String(), "evil") {
		t.Error(u)
	}
}

// TestSecretsDoNotShow: no way of formatting shows a shared key.
func TestSecretsDoNotShow(t *testing.T) {
	cfg := testConfig()
	cfg.ResponseSigningKey = signingKey()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ready := s.credentials[testKey]
	type wrapped struct{ inner Credential } // fmt does not call methods of unexported fields
	d := fmt.Sprint(cfg.ResponseSigningKey.D)
	for _, value := range []any{
		cfg, &cfg, s, *s, ready, *ready, cfg.Credentials, cfg.Credentials[0], &cfg.Credentials[0],
		cfg.Credentials[0].SharedKey, &cfg.Credentials[0].SharedKey, wrapped{cfg.Credentials[0]}, signed(askAcme),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%c", "%U"} {
			text := fmt.Sprintf(verb, value)
			for _, secret := range []string{testShared, fmt.Sprintf("%x", testShared), fmt.Sprintf("%X", testShared), fmt.Sprint([]byte(testShared)), d} {
				if strings.Contains(text, strings.Trim(secret, "[]")) {
					t.Errorf("%s of %T shows a secret", verb, value)
				}
			}
		}
	}
	if text := fmt.Sprint(cfg.Credentials[0]); !strings.Contains(text, "[secret]") {
		t.Errorf("%s does not say that there is one", text)
	}
	if text, err := cfg.Credentials[0].SharedKey.MarshalText(); err != nil || string(text) != "[secret]" || cfg.Credentials[0].SharedKey.String() != "[secret]" {
		t.Errorf("%q, %v", text, err)
	}
	answer := s.Answer(t.Context(), saying(authorization(testKey, "x")))
	if text := fmt.Sprintf("%+v %+v", answer, answer.Refusal); strings.Contains(text, testShared) {
		t.Error("an answer shows a secret")
	}
}

// signingKey is one for all tests, because making it takes a while.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey { return makeKey(2048) })

var shortKey = sync.OnceValue(func() *rsa.PrivateKey { return makeKey(1024) })

func makeKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("PRIVATE KEY", der)
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParseSigningKey(t *testing.T) {
	pkcs1 := inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signingKey()))
	for name, data := range map[string][]byte{
		"PKCS#8":         pkcs8(t, signingKey()),
		"PKCS#1":         pkcs1,
		"behind a mark":  append([]byte("\ufeff"), pkcs1...),
		"text around it": append([]byte("my key\n"), append(pkcs1, "\nend"...)...),
	} {
		if key, err := ParseSigningKey(data); err != nil || !key.Equal(signingKey()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"UTF-16":      {[]byte("\xff\xfe-\x00"), "UTF-16"},
		"nothing":     {nil, "not PEM"},
		"garbage":     {[]byte("kw4qSnpSwXzgiv5yxYpZZmFEd9QAeiKTQ6OuyMja"), "not PEM"},
		"public":      {inPEM("PUBLIC KEY", []byte("x")), "PUBLIC KEY"},
		"encrypted":   {inPEM("ENCRYPTED PRIVATE KEY", []byte("x")), "not encrypted"},
		"EC":          {pkcs8(t, elliptic), "not an RSA key"},
		"broken":      {inPEM("PRIVATE KEY", []byte("broken")), "cannot be read"},
		"broken too":  {inPEM("RSA PRIVATE KEY", []byte("broken")), "cannot be read"},
		"wrong label": {inPEM("PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signingKey())), "cannot be read"},
		"short":       {pkcs8(t, shortKey()), "1024 bits"},
	} {
		key, err := ParseSigningKey(c.data)
		if err == nil || key != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "kw4q") {
			t.Errorf("%s: %v quotes the content", name, err)
		}
	}
}

func TestCheckSigningKey(t *testing.T) {
	damaged := &rsa.PrivateKey{
		PublicKey: signingKey().PublicKey,
		D:         new(big.Int).Add(signingKey().D, big.NewInt(2)),
		Primes:    signingKey().Primes,
	}
	long := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 9000), E: 65537}}
	for want, key := range map[string]*rsa.PrivateKey{"damaged": damaged, "9001 bits": long, "no modulus": {}} {
		if err := checkSigningKey(key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
