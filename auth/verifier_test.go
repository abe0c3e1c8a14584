package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

func TestVerify(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	token := g.idp.Mint(nil)
	first := v.Verify(t.Context(), token)
	if first.Refusal != nil || first.Cached || first.Issuer != "acme" {
		t.Fatalf("the first time: %+v", first)
	}
	second := v.Verify(t.Context(), token)
	if second.Refusal != nil || !second.Cached || second.Issuer != "acme" || second.Token != first.Token {
		t.Errorf("the second time: %+v", second)
	}
}

func TestWithoutMemory(t *testing.T) {
	g := newGate(t)
	v := g.verifier(func(c *VerifierConfig) { c.CacheBytes = 0 })
	token := g.idp.Mint(nil)
	for range 3 {
		if verdict := v.Verify(t.Context(), token); verdict.Refusal != nil || verdict.Cached {
			t.Errorf("got %+v", verdict)
		}
	}
	if n, _ := v.Cached(); n != 0 {
		t.Errorf("%d tokens are cached", n)
	}
}

// The first token of all is refused with what is wrong with it like any later one.
func TestAlgorithmOfAnotherKey(t *testing.T) {
	g := newGate(t, "ES256", "RS256")
	v := g.verifier()
	token := g.idp.Mint(nil, idp.WithHeader("alg", "RS256")) // under the id of the ES256 key
	for range 2 {
		refused(t, v, token, ErrAlgorithm)
	}
}

// A hit still looks at the clock.
func TestCachedTokenExpires(t *testing.T) {
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) { p.Leeway = 10 * time.Second }))
	token := g.idp.Mint(map[string]any{"exp": at(time.Minute)})
	letIn(t, v, token)
	g.clock.advance(70*time.Second - 1)
	if verdict := v.Verify(t.Context(), token); verdict.Refusal != nil || !verdict.Cached {
		t.Errorf("in the last moment: %+v", verdict)
	}
	g.clock.advance(1)
	refused(t, v, token, ErrExpired)
	if n, _ := v.Cached(); n != 0 {
		t.Errorf("%d tokens are cached, expected the expired one to be forgotten", n)
	}
}

// A key that is withdrawn is a key not trusted, also for tokens verified before.
func TestWithdrawnKey(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	token := g.idp.Mint(nil)
	letIn(t, v, token)
	g.idp.Rotate("ES256", idp.KeepOld)
	g.publish()
	g.refresh()
	if verdict := v.Verify(t.Context(), token); !verdict.Cached {
		t.Error("a token was forgotten though its key is still there")
	}
	g.idp.Rotate("ES256", idp.WithdrawOld)
	g.publish()
	g.refresh()
	refused(t, v, token, ErrUnknownKey)
	letIn(t, v, g.idp.Mint(nil))
}

// A key replaced under its old id makes one refusal, then the new set is known.
func TestReplacedKey(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	old := g.idp.Mint(nil)
	letIn(t, v, old)
	g.idp.ReplaceKeyUnderSameID()
	g.publish()
	g.clock.advance(time.Minute)
	token := g.idp.Mint(nil)
	refused(t, v, token, ErrSignature)
	g.refresh()
	letIn(t, v, token)
	refused(t, v, old, ErrSignature)
}

// Rotation refuses nobody: a new key id waits for the fetch that it starts.
func TestRotation(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	letIn(t, v, g.idp.Mint(nil))
	g.idp.Rotate("ES256", idp.KeepOld)
	g.publish()
	g.clock.advance(time.Minute)
	var group sync.WaitGroup
	for range 40 {
		token := g.idp.Mint(nil)
		group.Go(func() {
			if verdict := v.Verify(t.Context(), token); verdict.Refusal != nil {
				t.Errorf("refused: %v", verdict.Refusal)
			}
		})
	}
	group.Wait()
}

// A token without a key id that no key signed asks for the current set, too.
func TestRotationWithoutKeyID(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	letIn(t, v, g.idp.Mint(nil))
	g.idp.Rotate("ES256", idp.WithdrawOld)
	g.publish()
	g.clock.advance(time.Minute)
	letIn(t, v, g.idp.Mint(nil, idp.WithHeader("kid", idp.Absent)))
	stranger := newGate(t)
	forged := stranger.idp.Mint(map[string]any{"iss": g.idp.URL}, idp.WithHeader("kid", idp.Absent))
	refused(t, v, forged, ErrSignature)
}

// A token without a key id is tried with every key that fits, up to 32; of a token
// that none of those signed it is not said that its signature is bad.
func TestTokensWithoutKeyIDAreTriedWithinBounds(t *testing.T) {
	for _, c := range []struct {
		keys int
		want *Refusal
	}{{12, ErrSignature}, {32, ErrSignature}, {40, ErrManyKeys}} {
		algorithms := make([]string, c.keys)
		for i := range algorithms {
			algorithms[i] = "ES256"
		}
		g := newGate(t, algorithms...)
		noID := idp.WithHeader("kid", idp.Absent)
		letIn(t, g.verifier(), g.idp.Mint(nil, noID))
		keys := g.engine.JWKS().All()
		for _, i := range []int{8, min(31, c.keys) - 1} {
			letIn(t, g.verifier(), g.idp.Mint(nil, idp.WithKey(keys[i].ID()), noID))
		}
		token := g.idp.Mint(nil, noID)
		verdict := refused(t, g.verifier(), badSignature(token), c.want)
		if cause := fmt.Sprint(verdict.Refusal.Cause); !strings.Contains(cause, keys[0].ID()) {
			t.Errorf("%d keys: the cause is %q, expected the keys that were tried", c.keys, cause)
		}
	}
}

func TestKeysUnavailable(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	if err := os.Remove(g.file); err != nil {
		t.Fatal(err)
	}
	verdict := refused(t, v, g.idp.Mint(nil), ErrKeysUnavailable)
	if verdict.Refusal.RetryAfter <= 0 || verdict.Refusal.RetryAfter > 5*time.Second || verdict.Refusal.Cause == nil {
		t.Errorf("got %+v, expected a time to come back at and a cause", verdict.Refusal)
	}
	if ErrKeysUnavailable.RetryAfter != time.Second || ErrKeysUnavailable.Cause != nil {
		t.Error("the refusal that all are made from was changed")
	}
	g.publish()
	g.clock.advance(6 * time.Second)
	letIn(t, v, g.idp.Mint(nil))
}

func TestKeyRefusal(t *testing.T) {
	wrapped := &issuer.UnavailableError{RetryAfter: 3 * time.Second, Err: errors.New("down")}
	g := newGate(t)
	letIn(t, g.verifier(), g.idp.Mint(nil))
	tests := []struct {
		err   error
		tried bool
		want  *Refusal
		after time.Duration
	}{
		{issuer.ErrUnknownKey, false, ErrUnknownKey, 0},
		{issuer.ErrUnknownKey, true, ErrSignature, 0},
		{wrapped, false, ErrKeysUnavailable, 3 * time.Second},
		{wrapped, true, ErrKeysUnavailable, 3 * time.Second},
		{errors.New("something else"), false, ErrKeysUnavailable, 5 * time.Second},
	}
	for _, tt := range tests {
		var choice issuer.Choice
		if tt.tried {
			choice.Keys = g.engine.JWKS().All()
		}
		got := keyRefusal(tt.err, choice, g.engine.JWKS(), issuer.Hint{})
		if !got.Is(tt.want) || got.RetryAfter != tt.after {
			t.Errorf("%v, tried %t: got %+v, expected %q after %s", tt.err, tt.tried, got, tt.want.Reason, tt.after)
		}
	}
}

// A request that was given up does not wait for keys.
func TestContextEnds(t *testing.T) {
	g := newGate(t)
	hold := g.idp.Hang(idp.JWKS)
	defer hold.Release()
	engine, err := issuer.New(issuer.Config{Issuer: g.idp.URL, JWKSURI: g.idp.JWKSURL()}, issuer.Options{Now: g.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	v := g.verifier(func(c *VerifierConfig) { c.Issuers[0].Keys = engine })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan Verdict)
	go func() { done <- v.Verify(ctx, g.idp.Mint(nil)) }()
	<-hold.Arrived()
	cancel()
	if verdict := <-done; verdict.Token != nil || !verdict.Refusal.Is(ErrKeysUnavailable) {
		t.Errorf("got %+v", verdict)
	}
}

// A token that expires while its key is waited for is not let in.
func TestExpiresWhileWaiting(t *testing.T) {
	g := newGate(t)
	hold := g.idp.Hang(idp.JWKS)
	engine, err := issuer.New(issuer.Config{Issuer: g.idp.URL, JWKSURI: g.idp.JWKSURL()}, issuer.Options{Now: g.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	v := g.verifier(func(c *VerifierConfig) { c.Issuers[0].Keys = engine })
	token := g.idp.Mint(map[string]any{"exp": at(time.Second)})
	done := make(chan Verdict)
	go func() { done <- v.Verify(t.Context(), token) }()
	<-hold.Arrived()
	g.clock.advance(time.Second)
	hold.Release()
	if verdict := <-done; verdict.Token != nil || verdict.Refusal != ErrExpired {
		t.Errorf("got %+v, expected the refusal %q", verdict, ErrExpired.Reason)
	}
}

// Many requests with the same new token all get in and get the same answer.
func TestSameNewTokenTogether(t *testing.T) {
	g := newGate(t, "RS256")
	v := g.verifier()
	for range 5 {
		token := g.idp.Mint(nil)
		var group sync.WaitGroup
		begin := make(chan struct{})
		for range 50 {
			group.Go(func() {
				<-begin
				if verdict := v.Verify(t.Context(), token); verdict.Refusal != nil || verdict.Token.Subject() != "subject" {
					t.Errorf("got %+v", verdict)
				}
			})
		}
		close(begin)
		group.Wait()
		if verdict := v.Verify(t.Context(), token); !verdict.Cached {
			t.Error("not cached afterwards")
		}
	}
}

// The real clock is used where none is given.
func TestRealClock(t *testing.T) {
	g := newGate(t)
	g.clock.nanoseconds.Store(time.Now().UnixNano())
	v := g.verifier(func(c *VerifierConfig) { c.Now = nil }, with(func(p *Policy) { p.Leeway = time.Minute }))
	letIn(t, v, g.idp.Mint(nil))
	refused(t, v, g.idp.Mint(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), ErrExpired)
}

func TestAudienceThatDiffersByASlash(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	for _, c := range []struct {
		audience any
		near     bool
	}{{idp.DefaultAudience + "/", true}, {[]string{"other", idp.DefaultAudience + "/"}, true}, {idp.DefaultAudience + "//", false}, {"other", false}, {[]string{}, false}} {
		why := refused(t, v, g.idp.Mint(map[string]any{"aud": c.audience}), ErrAudience).Refusal.Cause
		if (why != nil) != c.near || c.near && !strings.Contains(why.Error(), `"`+idp.DefaultAudience+`" by the slash at the end only`) {
			t.Errorf("the cause of %v is %v", c.audience, why)
		}
	}
}

func TestIssuerThatDiffersByASlashIsTold(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	near := refused(t, v, g.idp.Mint(map[string]any{"iss": g.idp.URL + "/"}), ErrIssuer)
	if near.Refusal.Cause == nil || !strings.Contains(near.Refusal.Cause.Error(), g.idp.URL+`" by the slash`) {
		t.Errorf("the cause is %v, expected the slash", near.Refusal.Cause)
	}
	far := refused(t, v, g.idp.Mint(map[string]any{"iss": g.idp.URL + "//"}), ErrIssuer)
	if far.Refusal.Cause != nil {
		t.Errorf("the cause is %v, expected none", far.Refusal.Cause)
	}
}
