package sso

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// stopped starts a provider with a login page, which does not listen yet, and an
// engine that asks it.
func stopped(t testing.TB, at *clock) (*idp.Issuer, *issuer.Engine) {
	t.Helper()
	provider, err := idp.New(idp.WithStopped())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	provider.EditMetadata(func(m map[string]any) { m["authorization_endpoint"] = provider.URL + "/authorize?tenant=acme" })
	engine, err := issuer.New(issuer.Config{Issuer: provider.URL}, issuer.Options{Now: at.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return provider, engine
}

func start(t testing.TB, provider *idp.Issuer) {
	t.Helper()
	if err := provider.Start(); err != nil {
		t.Fatal(err)
	}
}

// TestDiscovery goes through an outage at the start, and one later on, with a
// real engine and a real provider.
func TestDiscovery(t *testing.T) {
	at := newClock()
	provider, engine := stopped(t, at)
	s := service(t, discovering(engine), func(cfg *Config) { cfg.Now = at.now })
	wantCode(t, s, signed(askAcme), CodeInternal)

	start(t, provider)
	at.advance(6 * time.Second) // the engine does not ask again at once
	want := provider.URL + "/authorize?tenant=acme&client_id=license-users&"
	leads := func() {
		t.Helper()
		if u := wantURL(t, s, signed(askAcme)).String(); len(u) < len(want) || u[:len(want)] != want {
			t.Errorf("leads to %s, want %s", u, want)
		}
	}
	leads() // it recovers by itself
	if n := provider.DiscoveryFetches(); n != 1 {
		t.Errorf("%d fetches of metadata", n)
	}

	if err := provider.Stop(); err != nil {
		t.Fatal(err)
	}
	at.advance(14 * time.Minute)
	leads()
	at.advance(time.Hour)
	early := signed(askAcme)
	if answer := s.Answer(t.Context(), early); answer.Result() != string(CodeDateDiff) {
		t.Errorf("a date of an hour ago: %s", answer.Body)
	}
	for range 3 { // the refresh of metadata fails in the background
		answer := s.Answer(t.Context(), bearer(nil))
		if answer.Status != 200 {
			t.Errorf("provider down: %s", answer.Body)
		}
		at.advance(time.Minute)
	}
	engine.Close()
	if answer := s.Answer(t.Context(), bearer(nil)); answer.Status != 200 {
		t.Errorf("engine closed: %s", answer.Body)
	}
}

// TestNoRequestWaitsForARefresh: while the provider hangs, answers come.
func TestNoRequestWaitsForARefresh(t *testing.T) {
	at := newClock()
	provider, engine := stopped(t, at)
	start(t, provider)
	s := service(t, discovering(engine), func(cfg *Config) { cfg.Now = at.now })
	wantURL(t, s, signed(askAcme))

	hold := provider.Hang(idp.Metadata)
	defer hold.Release()
	at.advance(time.Hour)
	for range 100 {
		if answer := s.Answer(t.Context(), bearer(nil)); answer.Status != 200 {
			t.Fatal(string(answer.Body))
		}
	}
	<-hold.Arrived() // the refresh is under way, and was so all along
	if n := provider.DiscoveryFetches(); n != 2 {
		t.Errorf("%d fetches of metadata, want 2", n)
	}
}

// TestManyWaitTogether: all who come before the first metadata share one fetch.
func TestManyWaitTogether(t *testing.T) {
	at := newClock()
	provider, engine := stopped(t, at)
	hold := provider.Hang(idp.Metadata)
	start(t, provider)
	s := service(t, discovering(engine))
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if answer := s.Answer(context.Background(), signed(askAcme)); answer.Status != 200 {
				t.Errorf("%s", answer.Body)
			}
		})
	}
	<-hold.Arrived()
	hold.Release()
	all.Wait()
	if n := provider.DiscoveryFetches(); n != 1 {
		t.Errorf("%d fetches of metadata, want 1", n)
	}
}

// TestTwentyThousand: ten seconds' worth of two thousand requests, without an
// error and with one fetch of metadata.
func TestTwentyThousand(t *testing.T) {
	at := newClock()
	provider, engine := stopped(t, at)
	start(t, provider)
	s := service(t, discovering(engine))
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 5000 {
				q := query("response_type", "code", "state", fmt.Sprintf("%d-%d", worker, i))
				if answer := s.Answer(context.Background(), signed(q)); answer.Status != 200 {
					t.Errorf("%d: %s", i, answer.Body)
					return
				}
			}
		})
	}
	all.Wait()
	if n := provider.DiscoveryFetches(); n != 1 {
		t.Errorf("%d fetches of metadata, want 1", n)
	}
}
