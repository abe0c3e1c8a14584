package activation

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testKey    = "api-key"
	testShared = "kw4qSnpSwXzgiv5yxYpZZmFEd9QAeiKTQ6OuyMja"
	testClient = "license-users"
	testBack   = "https://app.example.com/sso"
	instance   = "1111111111111111111111111111111111111111111111111111111111111111"
)

// clock goes as the real one, but for what it was set ahead.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// site is what a vendor has: a provider of identities, a key, a storage.
type site struct {
	t        testing.TB
	provider *idp.Issuer
	engine   *issuer.Engine
	key      crypto.Signer
	engineIn *faultstorage.Engine
	clock    *clock
	terms    map[string]Terms
}

var person = idp.Person{Subject: "person-1", Email: "person@acme.example", Groups: []string{"license-users"}}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, clock: new(clock), engineIn: faultstorage.New(faultstorage.Faults{})}
	t.Cleanup(s.engineIn.Release)
	provider, err := idp.New(
		idp.WithNow(s.clock.now), idp.WithPerson("someone", "pass word", person), idp.WithAlgorithms("ES256", "RS256"),
		idp.WithClient(idp.Client{ID: testClient, Secret: "client secret", RedirectURIs: []string{testBack, "http://127.0.0.1/callback"}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Close() })
	s.provider = provider
	if s.engine, err = issuer.New(issuer.Config{Issuer: provider.URL}, issuer.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.engine.Close() })
	if s.key, err = keyfile.Generate(keyfile.Ed25519); err != nil {
		t.Fatal(err)
	}
	s.terms = map[string]Terms{"acme": {
		Hosts: []string{"gw.acme.example", "*.acme.example"}, Features: []string{"sso", "audit"}, Seats: 3,
		Claim: "groups", ClaimValues: []string{"license-users"},
	}}
	return s
}

// node is one process of the vendor's.
type node struct {
	*site
	service *Service
	store   *Store
	sso     *sso.Service
	storage *faultstorage.Node
	seen    []Outcome
	mu      sync.Mutex
	events  []registry.Event[Record]
}

var responseKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// start makes a node; limits are those of its storage.
func (s *site) start() *node {
	s.t.Helper()
	n := &node{site: s, storage: s.engineIn.Node()}
	config := sso.Config{
		Products: []string{"app", "other"}, Now: s.clock.now,
		Credentials: []sso.Credential{
			{APIKey: testKey, SharedKey: sso.NewSecret(testShared)},
			{APIKey: "narrow", SharedKey: sso.NewSecret(testShared), Products: []string{"other"}},
			{APIKey: "elsewhere", SharedKey: sso.NewSecret(testShared), Accounts: []string{"plain"}},
		},
		NonceKey:           sso.NewSecret(strings.Repeat("nonce key ", 4)),
		ResponseSigningKey: responseKey(),
	}
	account := func(code string) sso.Account {
		return sso.Account{
			Code: code, Metadata: s.engine, ClientID: testClient, ClientSecret: sso.NewSecret("client secret"),
			HTTP: s.engine.Client(), RedirectURIs: []string{testBack, "http://127.0.0.1/callback"},
		}
	}
	for code := range s.terms {
		a := account(code)
		a.Activates = true
		config.Accounts = append(config.Accounts, a)
	}
	config.Accounts = append(config.Accounts, account("plain"))
	var err error
	if n.sso, err = sso.New(config); err != nil {
		s.t.Fatal(err)
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: s.key, Now: s.clock.now})
	if err != nil {
		s.t.Fatal(err)
	}
	n.store = NewStore(registry.Options{Now: s.clock.now, WriteLimit: 5 * time.Second, Retire: time.Millisecond})
	n.store.Attach(registry.Host[Record]{Storage: n.storage, Refresh: 20 * time.Millisecond, Observe: func(e registry.Event[Record]) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.events = append(n.events, e)
	}})
	s.t.Cleanup(func() { _ = n.store.Close() })
	n.service, err = New(Config{SSO: n.sso, Terms: s.terms, Signer: signer, Store: n.store, Now: s.clock.now, Observe: func(o Outcome) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.seen = append(n.seen, o)
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// by signs a request's header as clients of the API do.
func (n *node) by(apiKey string) http.Header {
	date := n.clock.now().UTC().Format(http.TimeFormat)
	header := http.Header{}
	header.Set("Date", date)
	header.Set("Authorization", fmt.Sprintf(`algorithm="hmac-sha256",headers="date",signature="%s",apikey="%s"`, sso.Sign(sso.NewSecret(testShared), date), apiKey))
	return header
}

// begin asks for the address of a login page.
func (n *node) begin(product, account string, more ...string) url.Values {
	n.t.Helper()
	query := url.Values{"product": {product}, "customer_account_code": {account}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	answer := n.sso.Answer(n.t.Context(), sso.Request{Header: n.by(testKey), RawQuery: query.Encode()})
	var body struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(answer.Body, &body); err != nil || body.URL == "" {
		n.t.Fatalf("no address: %s", answer.Body)
	}
	address, err := url.Parse(body.URL)
	if err != nil {
		n.t.Fatal(err)
	}
	return address.Query()
}

func (n *node) nonce(product, account string) string { return n.begin(product, account).Get("nonce") }

// token is what a login brings.
func (n *node) token(product, account string) string {
	return n.provider.IDToken(person, idp.Login{ClientID: testClient, Nonce: n.nonce(product, account)}, idp.WithAlg("ES256"))
}

// wish is what an instance asks for.
func (n *node) wish(hardwareID string) map[string]any {
	return map[string]any{
		"product": "app", "hardware_id": hardwareID, "customer_account_code": "acme", "id_token": n.token("app", "acme"),
	}
}

func (n *node) post(op Operation, body any) sso.Response {
	data, ok := body.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(body); err != nil {
			n.t.Error(err)
		}
	}
	return n.service.Answer(n.t.Context(), op, sso.Request{Header: n.by(testKey)}, "application/json", data)
}

func (n *node) check(id, hardwareID string) sso.Response {
	query := url.Values{"product": {"app"}, "hardware_id": {hardwareID}, "license_key": {id}}
	return n.service.Answer(n.t.Context(), Check, sso.Request{Header: n.by(testKey), RawQuery: query.Encode()}, "", nil)
}

func (n *node) deactivate(id, hardwareID string) sso.Response {
	return n.post(Deactivate, map[string]any{"product": "app", "hardware_id": hardwareID, "license_key": id})
}

// granted reads the answer to a request that must have been granted.
func granted(t testing.TB, answer sso.Response) described {
	t.Helper()
	var d described
	if answer.Refusal != nil || json.Unmarshal(answer.Body, &d) != nil || d.License == nil {
		t.Fatalf("got %d %s", answer.Status, answer.Body)
	}
	return d
}

func refused(t testing.TB, answer sso.Response, code sso.Code) {
	t.Helper()
	if answer.Result() != string(code) || answer.Status != code.Status() {
		t.Errorf("got %d %s, want %s", answer.Status, answer.Body, code)
	}
}

// taken counts the seats of the one account and product.
func (n *node) taken() (sum int) {
	for _, count := range n.store.Active() {
		if count.Account == "acme" {
			sum += count.Taken
		}
	}
	return sum
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

// validity is that of a license on no instance, or on the one that is named.
func (n *node) validity(l *license.License, on ...string) *license.Validity {
	n.t.Helper()
	keys, err := license.NewKeySet(license.TrustedKey{Key: n.key.Public()})
	if err != nil {
		n.t.Fatal(err)
	}
	config := license.Config{Keys: keys, Now: n.clock.now}
	if len(on) > 0 {
		config.Instance = func() string { return on[0] }
	}
	verifier, err := license.NewVerifier(config)
	if err != nil {
		n.t.Fatal(err)
	}
	return verifier.Verify(l)
}
