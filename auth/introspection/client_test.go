package introspection

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// place is an introspection endpoint, and a client of it whose clock is set.
type place struct {
	*httptest.Server
	asked   atomic.Int64
	nanos   atomic.Int64
	source  issuer.Config
	counted sync.Map // how often each outcome was counted
}

func (p *place) now() time.Time          { return time.Unix(0, p.nanos.Load()) }
func (p *place) advance(d time.Duration) { p.nanos.Add(int64(d)) }

func newPlace(t testing.TB, answer http.HandlerFunc) *place {
	t.Helper()
	p := &place{}
	p.nanos.Store(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(p.Close)
	p.source = issuer.Config{Issuer: "https://login.example.com", JWKSFile: "none.json"}
	return p
}

func (p *place) client(t testing.TB, changes ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{Endpoint: p.URL + "/introspect?tenant=1", ClientID: "gateway", ClientSecret: "s3cret", Cache: 10 * time.Second}
	for _, change := range changes {
		change(&cfg)
	}
	c, err := New(cfg, p.source, nil, Options{Now: p.now, Count: func(o Outcome, _ time.Duration) {
		n, _ := p.counted.LoadOrStore(o, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (p *place) count(o Outcome) int64 {
	n, ok := p.counted.Load(o)
	if !ok {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

func say(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// A token is one parameter of the form, whatever is in it, and the secret is encoded
// (RFC 6749, section 2.3.1).
func TestQuestion(t *testing.T) {
	for _, token := range []string{"a", "a&active=true", "a%26b", "a\nb", "a b+c", "é=;#", strings.Repeat("a", 16<<10)} {
		var form url.Values
		var id, secret, query string
		p := newPlace(t, func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			form, query = r.PostForm, r.URL.RawQuery
			id, secret, _ = r.BasicAuth()
			say(`{"active":true}`)(w, r)
		})
		c := p.client(t, func(c *Config) { c.ClientID, c.ClientSecret = "the gateway", "a:b&c%" })
		if _, err := c.Ask(t.Context(), token, false); err != nil {
			t.Fatal(err)
		}
		if len(form) != 2 || len(form["token"]) != 1 || form.Get("token") != token || form.Get("token_type_hint") != "access_token" || query != "tenant=1" {
			t.Errorf("asked with %.100v and %q", form, query)
		}
		if id != "the+gateway" || secret != "a%3Ab%26c%25" {
			t.Errorf("asked as %q by %q", id, secret)
		}
	}
}

// Who asks proves who it is in the way that is configured, and that the issuer knows.
func TestClientAuthentication(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	p := newPlace(t, func(w http.ResponseWriter, r *http.Request) {
		assertion := r.PostFormValue("client_assertion")
		token, err := jwt.Parse([]byte(assertion), jwt.WithKey(jwa.ES256, private.Public()), jwt.WithIssuer("gateway"), jwt.WithSubject("gateway"),
			jwt.WithAudience("https://login.example.com"), jwt.WithRequiredClaim("exp"), jwt.WithClock(jwt.ClockFunc(func() time.Time { return time.Unix(1788264000, 0) })))
		if err != nil || seen[token.JwtID()] || r.PostFormValue("client_id") != "gateway" || r.Header.Get("Authorization") != "" ||
			r.PostFormValue("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			t.Errorf("%v in %v", err, r.PostForm)
			return
		}
		seen[token.JwtID()] = true
		say(`{"active":true}`)(w, r)
	})
	c := p.client(t, func(c *Config) { c.ClientSecret, c.PrivateKey = "", key })
	for _, token := range []string{"a", "b"} {
		if _, err := c.Ask(t.Context(), token, false); err != nil {
			t.Error(err)
		}
	}
}

// The metadata tell where to ask, and whether the secret goes into the form.
func TestEndpointOfTheMetadata(t *testing.T) {
	for _, methods := range [][]string{nil, {"client_secret_post", "client_secret_basic"}, {"client_secret_post"}} {
		provider, err := idp.New(idp.WithClient(idp.Client{ID: "gateway", Secret: "s"}))
		if err != nil {
			t.Fatal(err)
		}
		defer provider.Close()
		provider.EditMetadata(func(m map[string]any) {
			if methods != nil {
				m["introspection_endpoint_auth_methods_supported"] = methods
			}
		})
		source := issuer.Config{Issuer: provider.URL}
		engine, err := issuer.New(source, issuer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close()
		c, err := New(Config{ClientID: "gateway", ClientSecret: "s", Cache: time.Second}, source, engine, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		answer, err := c.Ask(t.Context(), provider.Opaque(nil), false)
		if err != nil || !answer.Active || answer.Endpoint != provider.IntrospectionURL() || c.Status().Endpoint != provider.IntrospectionURL() {
			t.Errorf("%v: %+v, %v", methods, answer, err)
		}
		provider.EditMetadata(func(m map[string]any) { delete(m, "introspection_endpoint") })
		if err := engine.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ask(t.Context(), "x", false); err == nil || !strings.Contains(err.Error(), "name no introspection_endpoint") {
			t.Errorf("without one in the metadata: %v", err)
		}
	}
}

// A client with a certificate shows it, the one that is in the files at the time.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	files := func(c *Config) {
		c.ClientSecret, c.CertificateFile, c.KeyFile = "", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	}
	var shown *x509.Certificate
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown = r.TLS.PeerCertificates[0]; r.PostFormValue("client_id") != "gateway" || r.Header.Get("Authorization") != "" {
			t.Errorf("asked with %v", r.PostForm)
		}
		say(`{"active":true}`)(w, r)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.SetKeepAlivesEnabled(false)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a handshake without a certificate
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(dir, "ca.pem")
	write(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	p := newPlace(t, say("{}"))
	c := p.client(t, files, func(c *Config) { c.Endpoint, c.CA = server.URL, ca })
	if _, err := c.Ask(t.Context(), "a", false); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("without the file: %v", err)
	}
	for _, token := range []string{"b", "c"} {
		certificate := selfSigned(t, dir)
		if _, err := c.Ask(t.Context(), token, false); err != nil || !shown.Equal(certificate) {
			t.Errorf("%v, or another certificate than that in the file", err)
		}
	}
}

// selfSigned writes a new certificate and its key.
func selfSigned(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{NotAfter: time.Now().Add(time.Hour), SerialNumber: serial()}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), crypto.Signer(private))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Ten thousand invented tokens at once: few questions, and few at a time.
func TestInventedTokens(t *testing.T) {
	var now, most atomic.Int64
	p := newPlace(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond)
		now.Add(-1)
		say(`{"active":false}`)(w, r)
	})
	c := p.client(t)
	var all sync.WaitGroup
	var none atomic.Int64
	for i := range 10_000 {
		all.Go(func() {
			answer, err := c.Ask(t.Context(), fmt.Sprint("invented", i), false)
			if err == nil && answer.Active {
				t.Error("let in")
			}
			if unavailable, ok := errors.AsType[*UnavailableError](err); ok && unavailable.RetryAfter >= time.Second {
				none.Add(1)
			}
		})
	}
	all.Wait()
	if n := p.asked.Load(); n > badBurst+maxUnderWay || most.Load() > maxUnderWay || none.Load() != 10_000-n {
		t.Errorf("%d questions, %d at a time, %d without an answer", n, most.Load(), none.Load())
	}
	if p.count(Inactive) != p.asked.Load() || c.Status().Questions[Inactive] != uint64(p.asked.Load()) || p.count(Limited) == 0 {
		t.Errorf("counted %d inactive, %d limited", p.count(Inactive), p.count(Limited))
	}
	if _, err := c.Ask(t.Context(), "known", true); err != nil {
		t.Errorf("a token that was good is kept waiting: %v", err)
	}
	p.advance(time.Second)
	asked := p.asked.Load()
	for i := range 1000 {
		_, _ = c.Ask(t.Context(), fmt.Sprint("another", i), false)
	}
	if n := p.asked.Load() - asked; n == 0 || n > badRate {
		t.Errorf("%d questions in the next second", n)
	}
}

// Good tokens are no reason to ask less.
func TestGoodTokensAreNotLimited(t *testing.T) {
	p := newPlace(t, say(`{"active":true}`))
	c := p.client(t)
	for i := range 3 * badBurst {
		if _, err := c.Ask(t.Context(), fmt.Sprint(i), false); err != nil {
			t.Fatal(err)
		}
	}
}

// What the issuer answers else is no answer.
func TestNoAnswer(t *testing.T) {
	var answer http.HandlerFunc
	elsewhere := newPlace(t, say(`{"active":true}`))
	p := newPlace(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	c := p.client(t)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"active":true,"secret":"remote text"}`)
		}
	}
	for name, one := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "status 307"},
		"unauthorized": {status(401), "does the issuer know this client_id"},
		"missing":      {status(404), "is this the introspection endpoint"},
		"created":      {status(201), "status 201"},
		"too long":     {say(`{"active":true,"a":"` + strings.Repeat("a", maxAnswerBytes) + `"}`), "has more than"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"active":true}`)
		}, "closed before the end"},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "remote text\r\n\r\n")
				_ = conn.Close()
			}
		}, "no valid HTTP answer"},
		"UTF-16": {say("\xff\xfe{\x00}\x00"), "UTF-16"},
	} {
		t.Run(name, func(t *testing.T) {
			answer = one.answer
			_, err := c.Ask(t.Context(), "tok3n"+name, true)
			if err == nil || !strings.Contains(err.Error(), one.want) || strings.Contains(err.Error(), "tok3n") ||
				strings.Contains(err.Error(), "remote text") || strings.Contains(err.Error(), "tenant=1") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, expected %q and no secret", err, one.want)
			}
		})
	}
	if elsewhere.asked.Load() != 0 {
		t.Error("a question was sent on to somebody else")
	}
	answer = say("\ufeff" + `{"active":true}`)
	if got, err := c.Ask(t.Context(), "bom", true); err != nil || !got.Active {
		t.Errorf("with a mark in front: %v", err)
	}
}

// Of a denial the OAuth error code is shown, and nothing that could be anything else.
func TestErrorCode(t *testing.T) {
	var body string
	status := http.StatusUnauthorized
	p := newPlace(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	const token = "only_small_letters"
	secret := p.client(t, func(c *Config) { c.ClientSecret = "s_ecret" })
	for _, one := range []struct {
		status     int
		body, want string
	}{
		{401, `{"error":"invalid_client","error_description":"remote text"}`, "status 401 (invalid_client), not 200; does"},
		{400, `{"error":"invalid_request"}`, "status 400 (invalid_request), not 200"},
		{403, `{"error":"access_denied"}`, "status 403 (access_denied), not 200; does"},
		{500, `{"error":"server_error"}`, "status 500, not 200"},
		{401, `{"error":"Remote text"}`, "status 401, not 200"},
		{401, `{"error":"` + strings.Repeat("a", 41) + `"}`, "status 401, not 200"},
		{401, `{"error":"invalid_client\n"}`, "status 401, not 200"},
		{401, `{"error":"invalid_client","error":"invalid_client"}`, "status 401, not 200"},
		{401, `{"error":{"remote":"text"}}`, "status 401, not 200"},
		{401, `{"error":"` + token + `"}`, "status 401, not 200"},
		{401, `{"error":"s_ecret"}`, "status 401, not 200"},
		{401, `invalid_client`, "status 401, not 200"},
	} {
		status, body = one.status, one.body
		_, err := secret.Ask(t.Context(), token, true)
		if err == nil || !strings.Contains(err.Error(), one.want) || strings.Contains(strings.ToLower(err.Error()), "remote") {
			t.Errorf("%d %s: got %v, want %q", one.status, one.body, err, one.want)
		}
		p.advance(2 * time.Minute)
	}
}

// An issuer that asks to be left alone is, for a minute at most, and all learn how
// long.
func TestRetryAfter(t *testing.T) {
	wait := "7"
	p := newPlace(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", wait)
		w.WriteHeader(http.StatusTooManyRequests)
	})
	c := p.client(t)
	for i := range 3 {
		_, err := c.Ask(t.Context(), fmt.Sprint(i), i > 0)
		if unavailable, ok := errors.AsType[*UnavailableError](err); !ok || unavailable.RetryAfter != 7*time.Second {
			t.Errorf("question %d: %v", i, err)
		}
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
	p.advance(7 * time.Second)
	wait = "86400"
	_, err := c.Ask(t.Context(), "x", false)
	if unavailable, ok := errors.AsType[*UnavailableError](err); !ok || unavailable.RetryAfter != time.Minute || p.asked.Load() != 2 {
		t.Errorf("after that: %v, %d questions", err, p.asked.Load())
	}
}

// Who gives up does not end the question of the others, and Close ends all.
func TestWhoGivesUp(t *testing.T) {
	here, release := make(chan struct{}, 2), make(chan struct{})
	p := newPlace(t, func(w http.ResponseWriter, r *http.Request) {
		here <- struct{}{}
		select {
		case <-release:
			say(`{"active":true}`)(w, r)
		case <-r.Context().Done():
		}
	})
	c := p.client(t)
	gone, leave := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := c.Ask(gone, "a", false); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	<-here
	both.Go(func() {
		if answer, err := c.Ask(t.Context(), "a", false); err != nil || !answer.Active {
			t.Errorf("the other got %v", err)
		}
	})
	leave()
	close(release)
	both.Wait()
	if p.asked.Load() != 1 {
		t.Errorf("%d questions", p.asked.Load())
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Ask(t.Context(), "b", false); !errors.Is(err, errClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// Operators learn once that there are no answers, and once that there are again.
func TestEvents(t *testing.T) {
	status := http.StatusInternalServerError
	p := newPlace(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"active":true}`)
	})
	c := p.client(t)
	var events []string
	detach := c.Attach(func(err error) {
		if err == nil {
			events = append(events, "recovered")
			return
		}
		events = append(events, "unavailable")
	})
	defer detach()
	ask := func(n int) {
		for range n {
			_, _ = c.Ask(t.Context(), fmt.Sprint(p.asked.Load()), true)
		}
	}
	ask(3)
	if st := c.Status(); st.LastError == "" || st.LastErrorAt.IsZero() || st.Questions[Failed] != 3 {
		t.Errorf("the state is %+v", st)
	}
	status = http.StatusOK
	ask(2)
	status = http.StatusInternalServerError
	ask(1) // too soon to be reported again
	p.advance(time.Minute)
	ask(2)
	if got := fmt.Sprint(events); got != "[unavailable recovered unavailable]" {
		t.Errorf("reported %s", got)
	}
	status = http.StatusOK
	ask(1)
	if st := c.Status(); st.LastError != "" || st.AnsweredAt.IsZero() || st.Endpoint != p.URL+"/introspect" {
		t.Errorf("the state is %+v", st)
	}
}

func TestValidate(t *testing.T) {
	key := &PrivateKey{id: "digest"}
	good := func() Config {
		return Config{Endpoint: "https://login.example.com/introspect", ClientID: "gateway", ClientSecret: "s", Cache: time.Second}
	}
	for want, change := range map[string]func(*Config, *issuer.Config){
		"client_id":    func(c *Config, _ *issuer.Config) { c.ClientID = "" },
		"expected one": func(c *Config, _ *issuer.Config) { c.ClientSecret = "" },
		"found more than one of client_secret, private_key": func(c *Config, _ *issuer.Config) { c.PrivateKey = key },
		"expected two files":  func(c *Config, _ *issuer.Config) { c.ClientSecret, c.CertificateFile = "", "x" },
		"cache: found 100ms":  func(c *Config, _ *issuer.Config) { c.Cache = 100 * time.Millisecond },
		"cache: found 2h":     func(c *Config, _ *issuer.Config) { c.Cache = 2 * time.Hour },
		"is http to another":  func(c *Config, _ *issuer.Config) { c.Endpoint = "http://login.example.com/introspect" },
		"not an absolute URL": func(c *Config, _ *issuer.Config) { c.Endpoint = "/introspect" },
		"beside jwks_file":    func(c *Config, s *issuer.Config) { c.Endpoint, s.JWKSFile = "", "x" },
		`found "a b"`:         func(c *Config, _ *issuer.Config) { c.Prefixes = []string{"a b"} },
		"how JWTs begin":      func(c *Config, _ *issuer.Config) { c.Prefixes = []string{"eyJ"} },
		`found "a" twice`:     func(c *Config, _ *issuer.Config) { c.Prefixes = []string{"a", "a"} },
		"at most 32":          func(c *Config, _ *issuer.Config) { c.Prefixes = make([]string, 33) },
	} {
		cfg, source := good(), issuer.Config{Issuer: "https://login.example.com"}
		change(&cfg, &source)
		if err := cfg.Validate(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
		if cfg.ID() == good().ID() && want != "beside jwks_file" {
			t.Errorf("%q: two configurations have the same ID", want)
		}
	}
	for name, change := range map[string]func(*Config){
		"on loopback":                   func(c *Config) { c.Endpoint = "http://127.0.0.1/introspect" },
		"where that is allowed":         func(c *Config) { c.Endpoint, c.InsecureHTTP = "http://login.example.com/introspect", true },
		"by other roots of trust":       func(c *Config) { c.CA = "ca.pem" },
		"though the keys are in a file": func(*Config) {},
	} {
		cfg := good()
		change(&cfg)
		if err := cfg.Validate(issuer.Config{Issuer: "https://login.example.com", JWKSFile: "keys.json"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if (cfg.ID() == good().ID()) != (name == "though the keys are in a file") {
			t.Errorf("%s: the ID is wrong", name)
		}
	}
	if strings.Contains(good().ID(), "s") && len(good().ID()) != 64 {
		t.Error("the ID is no digest")
	}
}

func TestPrivateKeys(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.FromRaw(private)
	if err != nil {
		t.Fatal(err)
	}
	_ = key.Set("kid", "k1")
	text := func(k jwk.Key) []byte {
		data, err := jwkJSON(k)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	parsed, err := ParsePrivateKey(text(key))
	if err != nil || parsed.algorithm != jwa.ES384 || parsed.key.KeyID() != "k1" || fmt.Sprint(parsed) != "a private key" {
		t.Errorf("got %v, %v", parsed, err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := key.Clone()
	if err != nil {
		t.Fatal(err)
	}
	_ = wrong.Set("alg", "RS256")
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte("secret"), "public": text(public), "shared": []byte(`{"kty":"oct","k":"c2VjcmV0"}`),
		"another algorithm": text(wrong),
	} {
		if _, err := ParsePrivateKey(data); err == nil {
			t.Errorf("%s is taken for a private key", name)
		}
	}
}
