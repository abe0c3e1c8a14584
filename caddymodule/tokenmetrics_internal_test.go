package caddymodule

import (
	"maps"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
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
	registry := account.New(registry.Options{})
	tb.Cleanup(func() { _ = registry.Close() })
	caller, refusal := (&auth.Registration{Accounts: registry}).Admit(verdict.Token, verdict.At)
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

// Each minute of the last hour has what was counted in it, and older ones are gone.
func TestHistoryCountsByMinute(t *testing.T) {
	begin := time.Unix(1_000_020, 0).Truncate(time.Minute)
	now, counts := begin, map[outcomeLabels]int{}
	h := &history{now: func() time.Time { return now }, read: func() map[outcomeLabels]int { return maps.Clone(counts) }, marks: []reading{{at: now}}}
	minute := func(n int, rises map[string]int) {
		for range n {
			for result, by := range rises {
				counts[outcomeLabels{"acme", result}] += by
			}
			now = now.Add(time.Minute)
			h.mark()
		}
	}
	wants := func(result string, sum int, at map[int]int) {
		t.Helper()
		hour := h.hour()
		if want := now.UTC().Truncate(time.Minute).Add(-59 * time.Minute); !hour.Begin.Equal(want) {
			t.Errorf("the hour begins at %v, want %v", hour.Begin, want)
		}
		for _, one := range hour.Series {
			if one.Result != result {
				continue
			}
			for i, n := range one.Counts {
				if n != at[i] && at != nil {
					t.Errorf("%s: %d in minute %d, want %d", result, n, i, at[i])
				}
				sum -= n
			}
		}
		if sum != 0 {
			t.Errorf("%s: %d of them are missing", result, sum)
		}
	}
	minute(2, map[string]int{"let_in": 5, "expired": 1})
	counts[outcomeLabels{"acme", "expired"}] += 3
	wants("let_in", 10, map[int]int{57: 5, 58: 5})
	wants("expired", 5, map[int]int{57: 1, 58: 1, 59: 3}) // those of the minute that runs, too
	minute(57, nil)
	wants("expired", 5, map[int]int{0: 1, 1: 1, 2: 3})
	minute(1, nil)
	wants("expired", 4, map[int]int{0: 1, 1: 3})
	minute(10_000, map[string]int{"let_in": 1})
	wants("expired", 0, nil)
	wants("let_in", 59, nil)
	if len(h.marks) > historyMinutes+2 {
		t.Errorf("%d marks are kept", len(h.marks))
	}
	now = now.Add(24 * time.Hour) // nothing ran meanwhile
	h.mark()
	wants("let_in", 0, nil)
	now = now.Add(-24 * time.Hour) // set back
	minute(3, map[string]int{"let_in": 1})
	wants("let_in", 3, map[int]int{56: 1, 57: 1, 58: 1})
}

// The goroutine that marks the minutes ends with the last configuration.
func TestHistoryEnds(t *testing.T) {
	marked := make(chan struct{}, 8)
	h := &history{now: func() time.Time { return time.Unix(119, 990_000_000) }, read: func() map[outcomeLabels]int {
		select {
		case marked <- struct{}{}:
		default:
		}
		return nil
	}, marks: []reading{{}}}
	first := h.keep()
	second := h.keep()
	<-marked
	first()
	<-marked
	second()
	h.keep()()
}

// An issuer that is not configured has no label of its own.
func TestIssuerLabelsAreClosed(t *testing.T) {
	m := newMeters([]string{"cost"})
	if m.of("whatever") != m.issuers[""] {
		t.Error("an issuer that is not configured has a label of its own")
	}
}
