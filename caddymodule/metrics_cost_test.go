package caddymodule

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// letIn gives a caller whose token is remembered, and what counts it.
func letIn(tb testing.TB) (*meters, *auth.Principal, auth.Verdict) {
	tb.Helper()
	provider, err := idp.New()
	if err != nil {
		tb.Fatal(err)
	}
	engine, err := issuer.New(issuer.Config{Issuer: provider.URL}, issuer.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = engine.Close(); _ = provider.Close() })
	verifier, err := auth.NewVerifier(auth.VerifierConfig{CacheBytes: 1 << 20, Issuers: []auth.AcceptedIssuer{{
		Policy: auth.Policy{Issuer: provider.URL, Name: "cost", Audiences: []string{idp.DefaultAudience}}, Keys: engine,
	}}})
	if err != nil {
		tb.Fatal(err)
	}
	token := provider.Mint(nil)
	verifier.Verify(tb.Context(), token)
	verdict := verifier.Verify(tb.Context(), token)
	if !verdict.Cached {
		tb.Fatalf("got %+v, want a remembered token", verdict)
	}
	registry := account.New(account.Options{})
	tb.Cleanup(func() { _ = registry.Close() })
	caller, refusal := (&auth.Registration{Accounts: account.View{Registry: registry}}).Admit(verdict.Token, verdict.At)
	if refusal != nil {
		tb.Fatal(refusal)
	}
	return newMeters([]string{"cost"}), caller, verdict
}

func TestMetersCostNoAllocation(t *testing.T) {
	m, caller, verdict := letIn(t)
	r := httptest.NewRequest("GET", "/", nil)
	if n := testing.AllocsPerRun(1000, func() {
		m.verified(&verdict)
		m.outcome(r, verdict.Issuer, caller, nil)
	}); n != 0 {
		t.Errorf("%v allocations for a request that is let in, want none", n)
	}
}

// BenchmarkMeters is what counting adds to a request that is let in.
func BenchmarkMeters(b *testing.B) {
	m, caller, verdict := letIn(b)
	r := httptest.NewRequest("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		m.verified(&verdict)
		m.outcome(r, verdict.Issuer, caller, nil)
	}
}

func TestTallyForgetsAfterAnHour(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	tally := newTally(func() time.Time { return now })
	tally.add("expired")
	now = now.Add(30 * time.Minute)
	tally.add("expired")
	tally.add("scope")
	if sums := tally.sums(); sums["expired"] != 2 || sums["scope"] != 1 {
		t.Errorf("got %v, want 2 expired and 1 scope", sums)
	}
	now = now.Add(31 * time.Minute)
	if sums := tally.sums(); sums["expired"] != 1 {
		t.Errorf("got %v, want 1 expired after an hour", sums)
	}
	now = now.Add(24 * time.Hour)
	if sums := tally.sums(); len(sums) != 0 {
		t.Errorf("got %v, want nothing after a day", sums)
	}
}

// Every reason of a license that is refused has a code that is a label, and the
// words of no caller ever are one.
func TestLabelsAreClosed(t *testing.T) {
	for _, reason := range []license.Reason{
		license.ReasonMissing, license.ReasonForm, license.ReasonUnknownKey, license.ReasonRevokedKey, license.ReasonRetiredKey,
		license.ReasonSignature, license.ReasonRevokedID, license.ReasonNotYetValid, license.ReasonExpired, license.ReasonHost, license.ReasonFeature,
	} {
		if got := known(licenseCodes, reason.Code()); got != reason.Code() || !strings.HasPrefix(got, "license_") {
			t.Errorf("the label of %s is %q", reason, got)
		}
	}
	if got := known(licenseCodes, "whatever"); got != labelOther {
		t.Errorf("got the label %q", got)
	}
	m := newMeters([]string{"cost"})
	if m.of("whatever") != m.issuers[""] {
		t.Error("an issuer that is not configured has a label of its own")
	}
}
