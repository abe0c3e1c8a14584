package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
)

// holder holds a key that tokens are bound to.
type holder struct {
	private    *ecdsa.PrivateKey
	thumbprint string
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := jwk.FromRaw(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{private, base64.RawURLEncoding.EncodeToString(sum)}
}

// request is one with a proof of the holder's key, for a token, made at a time.
func (h *holder) request(t testing.TB, token string, now time.Time, nonce string) *bound.Request {
	t.Helper()
	public, err := jwk.FromRaw(&h.private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	header := jws.NewHeaders()
	for name, value := range map[string]any{"typ": "dpop+jwt", "jwk": public} {
		if err := header.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256([]byte(token))
	payload, err := json.Marshal(map[string]any{
		"htm": "GET", "htu": "https://gw.example.com/a", "iat": now.Unix(), "jti": rand.Text(), "nonce": nonce,
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := jws.Sign(payload, jws.WithKey(jwa.ES256, h.private, jws.WithProtectedHeaders(header)))
	if err != nil {
		t.Fatal(err)
	}
	return &bound.Request{
		Token: token, DPoP: true, Proofs: []string{string(proof)}, Method: "GET", Target: "/a?b", Bases: []string{"https://gw.example.com"},
	}
}

// senders makes a checker.
func (g *gate) senders(changes ...func(*bound.Config)) *bound.Checker {
	g.tb.Helper()
	config := bound.Config{Replays: bound.NewReplays(100, time.Minute), Now: g.clock.now}
	for _, change := range changes {
		change(&config)
	}
	checker, err := bound.NewChecker(config)
	if err != nil {
		g.tb.Fatal(err)
	}
	return checker
}

// binds lets tokens in as the binding says.
func binds(binding Binding) func(*VerifierConfig) {
	return with(func(p *Policy) { p.Bound = binding })
}

func TestBoundTokens(t *testing.T) {
	g := newGate(t)
	me, other := newHolder(t), newHolder(t)
	certificate := sha256.Sum256([]byte("certificate"))
	jkt := map[string]any{"jkt": me.thumbprint}
	x5t := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(certificate[:])}
	mint := func(cnf map[string]any) string {
		if cnf == nil {
			return g.idp.Mint(nil)
		}
		return g.idp.Mint(map[string]any{"cnf": cnf})
	}
	for _, tt := range []struct {
		name    string
		binding Binding
		cnf     map[string]any
		verify  string // the reason of [Verifier.Verify]
		check   string // and that of [Verdict.CheckSender], with proof and certificate of mine
	}{
		{"off, plain", BoundOff, nil, "", "not_bound"},
		{"off, bound", BoundOff, jkt, "bound", "bound"},
		{"optional, plain", BoundOptional, nil, "", "not_bound"},
		{"optional, by key", BoundOptional, jkt, "bound", ""},
		{"optional, by another key", BoundOptional, map[string]any{"jkt": other.thumbprint}, "bound", "proof_binding"},
		{"optional, by certificate", BoundOptional, x5t, "bound", "not_bound"},
		{"optional, malformed", BoundOptional, map[string]any{"jkt": "x"}, "confirmation", "confirmation"},
		{"optional, unknown", BoundOptional, map[string]any{"kid": "x"}, "confirmation_member", "confirmation_member"},
		{"required, plain", BoundRequired, nil, "bound_only", "bound_only"},
		{"required, by key", BoundRequired, jkt, "bound", ""},
		{"dpop, plain", BoundDPoP, nil, "dpop_only", "dpop_only"},
		{"dpop, by certificate", BoundDPoP, x5t, "dpop_only", "dpop_only"},
		{"mtls, by key", BoundMTLS, jkt, "mtls_only", "mtls_only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, senders := g.verifier(binds(tt.binding)), g.senders()
			token := mint(tt.cnf)
			for range 2 { // new, and out of the cache
				verdict := v.Verify(t.Context(), token)
				if reason(verdict.Refusal) != tt.verify || (verdict.Token == nil) != (tt.verify != "") {
					t.Errorf("verified: %v", verdict.Refusal)
				}
				if tt.binding != BoundOff && verdict.IsBound() != (tt.verify == "bound") {
					t.Error("wrong about whether the sender is to be checked")
				}
				q := me.request(t, token, g.clock.now(), "")
				q.Certificate = certificate[:]
				explained := v.Explain(t.Context(), token, &Registration{Accounts: nobody{}}, senders, q)
				verdict = verdict.CheckSender(senders, q)
				if reason(verdict.Refusal) != tt.check || (verdict.Token == nil) != (tt.check != "") || verdict.IsBound() {
					t.Errorf("checked: %v", verdict.Refusal)
				}
				if reason(explained.Refusal) != tt.check {
					t.Errorf("explained: %v", explained.Refusal)
				}
				if explained := v.Explain(t.Context(), token, &Registration{Accounts: nobody{}}, nil, nil); reason(explained.Refusal) != tt.verify {
					t.Errorf("explained without a sender: %v", explained.Refusal)
				}
			}
		})
	}
	v, senders := g.verifier(binds(BoundOptional)), g.senders()
	token := mint(x5t)
	if verdict := v.Verify(t.Context(), token).CheckSender(senders, &bound.Request{Token: token, Certificate: certificate[:]}); verdict.Token == nil {
		t.Errorf("by certificate: %v", verdict.Refusal)
	}
	if verdict := v.Verify(t.Context(), token).CheckSender(senders, &bound.Request{Token: token}); reason(verdict.Refusal) != "no_certificate" {
		t.Errorf("without a certificate: %v", verdict.Refusal)
	}
	plain := mint(nil)
	if verdict := v.Verify(t.Context(), plain).CheckSender(senders, &bound.Request{Token: plain, Require: bound.Required}); reason(verdict.Refusal) != "bound_only" {
		t.Errorf("a plain token where the route asks for more: %v", verdict.Refusal)
	}
	bad := v.Verify(t.Context(), "garbage")
	if verdict := bad.CheckSender(senders, me.request(t, "garbage", g.clock.now(), "")); verdict.Token != nil || verdict.Refusal != bad.Refusal {
		t.Errorf("a bad token: %v", verdict.Refusal)
	}
}

func reason(r *Refusal) string {
	if r == nil {
		return ""
	}
	return r.Reason
}

// What is remembered of a token spares no check of a proof.
func TestEachProofIsChecked(t *testing.T) {
	g := newGate(t)
	me := newHolder(t)
	v, senders := g.verifier(binds(BoundOptional)), g.senders()
	token := g.idp.Mint(map[string]any{"cnf": map[string]any{"jkt": me.thumbprint}})
	q := me.request(t, token, g.clock.now(), "")
	for i, want := range []string{"", "proof_repeated", "proof_repeated"} {
		if verdict := v.Verify(t.Context(), token).CheckSender(senders, q); reason(verdict.Refusal) != want {
			t.Errorf("request %d: %v", i, verdict.Refusal)
		}
	}
	other := *me.request(t, token, g.clock.now(), "")
	other.Method = "POST"
	if verdict := v.Verify(t.Context(), token).CheckSender(senders, &other); reason(verdict.Refusal) != "proof_method" {
		t.Errorf("another method: %v", verdict.Refusal)
	}
	// A plan that grows makes the token anew, and it is bound as before.
	verdict := v.Verify(t.Context(), token).CheckSender(senders, me.request(t, token, g.clock.now(), ""))
	caller := unregistered(t, verdict.Token)
	if got, _ := caller.confirmation(); got != (bound.Confirmation{Thumbprint: me.thumbprint}) {
		t.Errorf("bound to %+v", got)
	}
	if got, _ := letIn(t, v, g.idp.Mint(nil)).confirmation(); got != (bound.Confirmation{}) {
		t.Errorf("a bearer token is bound to %+v", got)
	}
	caller.Text("claims.of.a.new.path")
	if again := v.Verify(t.Context(), token); again.Refusal != ErrBound || !again.IsBound() {
		t.Errorf("after the plan has grown: %v", again.Refusal)
	}
}

func TestSenderNonces(t *testing.T) {
	g := newGate(t)
	me := newHolder(t)
	nonces, err := bound.NewNonces([]byte("a key of the nonces of a test"))
	if err != nil {
		t.Fatal(err)
	}
	v, senders := g.verifier(binds(BoundOptional)), g.senders(func(c *bound.Config) { c.Nonces = nonces })
	token := g.idp.Mint(map[string]any{"cnf": map[string]any{"jkt": me.thumbprint}})
	verdict := v.Verify(t.Context(), token).CheckSender(senders, me.request(t, token, g.clock.now(), "made up"))
	if reason(verdict.Refusal) != "nonce" || verdict.Nonce == "" || verdict.Nonce != senders.Nonce() {
		t.Errorf("got %v, %q", verdict.Refusal, verdict.Nonce)
	}
	verdict = v.Verify(t.Context(), token).CheckSender(senders, me.request(t, token, g.clock.now(), verdict.Nonce))
	if verdict.Token == nil || verdict.Nonce != "" {
		t.Errorf("got %v, %q", verdict.Refusal, verdict.Nonce)
	}
}

// A bound token that comes alone is refused as a request with it is, and what is missing
// is named.
func TestExplainAsksForWhatIsMissing(t *testing.T) {
	g := newGate(t)
	v, senders, hash := g.verifier(binds(BoundOptional)), g.senders(), strings.Repeat("A", 43)
	for _, c := range []struct {
		cnf          map[string]any
		senders      *bound.Checker
		want, asked  string
		wantsNothing string
	}{
		{map[string]any{"x5t#S256": hash}, senders, "no_certificate", "--certificate", "--proof"},
		{map[string]any{"x5t#S256": hash}, nil, "bound", "--certificate", "--proof"},
		{map[string]any{"jkt": hash}, senders, "bound", "--proof", "--certificate"},
		{map[string]any{"jkt": hash, "x5t#S256": hash}, senders, "bound", "--proof, --certificate", "nothing else"},
	} {
		token := g.idp.Mint(map[string]any{"cnf": c.cnf})
		e := v.Explain(t.Context(), token, &Registration{Accounts: nobody{}}, c.senders, nil)
		shown := shownBy(e, "sender")
		if reason(e.Refusal) != c.want || !strings.Contains(shown, c.asked) || strings.Contains(shown, c.wantsNothing) {
			t.Errorf("%v: %s, %s", c.cnf, reason(e.Refusal), shown)
		}
		alone := &bound.Request{Token: token, Method: "GET"}
		if verdict := v.Verify(t.Context(), token).CheckSender(c.senders, alone); reason(verdict.Refusal) != c.want {
			t.Errorf("%v: a request is refused with %v", c.cnf, verdict.Refusal)
		}
	}
}

// The refusals of senders have names that no other refusal has.
func TestSenderRefusals(t *testing.T) {
	seen := map[string]*Refusal{}
	for _, r := range slices.Concat(Refusals(), SenderRefusals()) {
		if known := seen[r.Reason]; known != nil && known != r {
			t.Errorf("%s stands there twice", r.Reason)
		}
		seen[r.Reason] = r
	}
	if full := seen["replay_memory_full"]; full == nil || full.Status != 503 || full.RetryAfter == 0 {
		t.Errorf("got %+v", full)
	}
	if len(SenderRefusals()) != len(bound.Refusals()) {
		t.Errorf("%d of %d", len(SenderRefusals()), len(bound.Refusals()))
	}
}

// Without a checker nothing is let in but bearer tokens.
func TestNoChecker(t *testing.T) {
	g := newGate(t)
	me := newHolder(t)
	v := g.verifier(binds(BoundOptional))
	plain, bearers := g.idp.Mint(nil), bound.Request{}
	if verdict := v.Verify(t.Context(), plain).CheckSender(nil, &bearers); verdict.Token == nil {
		t.Errorf("a bearer token: %v", verdict.Refusal)
	}
	for _, q := range []*bound.Request{me.request(t, plain, g.clock.now(), ""), {Require: bound.MTLS}} {
		if verdict := v.Verify(t.Context(), plain).CheckSender(nil, q); verdict.Token != nil || reason(verdict.Refusal) != "not_bound" {
			t.Errorf("a bearer token in another way: %v", verdict.Refusal)
		}
	}
	token := g.idp.Mint(map[string]any{"cnf": map[string]any{"jkt": me.thumbprint}})
	if verdict := v.Verify(t.Context(), token).CheckSender(nil, me.request(t, token, g.clock.now(), "")); verdict.Token != nil || verdict.Refusal != ErrBound {
		t.Errorf("a bound token: %v", verdict.Refusal)
	}
}

func TestBindings(t *testing.T) {
	g := newGate(t)
	for binding, good := range map[Binding]bool{"": true, BoundOff: true, BoundOptional: true, BoundRequired: true, BoundDPoP: true, BoundMTLS: true, "maybe": false} {
		p := g.policy()
		p.Bound = binding
		if err := p.Validate(); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "expected one of dpop, mtls, off, optional, required") {
			t.Errorf("%q: %v", binding, err)
		}
	}
}
