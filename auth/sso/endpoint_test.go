package sso

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// discovering has the account ask the source.
func discovering(source MetadataSource) func(*Config) {
	return withAccount(func(a *Account) { a.AuthorizationEndpoint, a.Metadata = "", source })
}

// TestLastGoodStays whatever the metadata turns into.
func TestLastGoodStays(t *testing.T) {
	source := &fakeSource{err: errors.New("down")}
	s := service(t, discovering(source))
	wantCode(t, s, signed(askAcme), CodeInternal)
	source.set("https://one.example/authorize?a=b", nil)
	host := func() string { return wantURL(t, s, signed(askAcme)).Host }
	if host() != "one.example" {
		t.Error("it does not recover")
	}
	for name, bad := range map[string]struct {
		endpoint string
		err      error
	}{
		"down":            {"", errors.New("down")},
		"gone":            {"", nil},
		"not a URL":       {"https://a b", nil},
		"not encoded":     {"https://x.example/ü", nil},
		"with a fragment": {"https://x.example/#/login", nil},
		"another scheme":  {"javascript:alert(1)//x", nil},
		"our parameter":   {"https://x.example/?redirect_uri=https://evil.example", nil},
	} {
		source.set(bad.endpoint, bad.err)
		if host() != "one.example" {
			t.Errorf("%s: another endpoint", name)
		}
	}
	source.set("https://two.example/authorize", nil)
	if host() != "two.example" {
		t.Error("it does not follow")
	}
	source.set("", errors.New("down"))
	if host() != "two.example" {
		t.Error("it goes back to an older one")
	}
}

// TestNeverGood: without a usable endpoint there is no address.
func TestNeverGood(t *testing.T) {
	for endpoint, want := range map[string]string{
		"": "no authorization_endpoint", "https://x.example/?state=1": `"state"`, "/authorize": "not an absolute URL", "https://x.example/<>": "not a URL",
	} {
		source := &fakeSource{endpoint: endpoint}
		answer := wantCode(t, service(t, discovering(source)), signed(askAcme), CodeInternal)
		if answer.Refusal == nil || answer.Refusal.Cause == nil || !strings.Contains(answer.Refusal.Cause.Error(), want) {
			t.Errorf("%q: %+v", endpoint, answer.Refusal)
		}
	}
	wantCode(t, service(t, discovering(emptySource{})), signed(askAcme), CodeInternal)
}

// emptySource knows nothing and says so without an error.
type emptySource struct{}

func (emptySource) Metadata(context.Context) (*issuer.Metadata, error) { return nil, nil }

// TestInsecureHTTP: whether http will do is the engine's to decide.
func TestInsecureHTTP(t *testing.T) {
	s := service(t, discovering(&fakeSource{endpoint: "http://login.internal/authorize"}))
	if u := wantURL(t, s, signed(askAcme)); u.Scheme != "http" || u.Host != "login.internal" {
		t.Error(u)
	}
}

// hangingSource answers only when its caller gives up.
type hangingSource struct{}

func (hangingSource) Metadata(ctx context.Context) (*issuer.Metadata, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestWaitIsBounded where nothing was ever had, and ends with the request.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, discovering(hangingSource{}))
		began := time.Now()
		wantCode(t, s, signed(askAcme), CodeInternal)
		if waited := time.Since(began); waited != metadataWait {
			t.Errorf("waited %s", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if answer := s.Answer(ctx, signed(askAcme)); answer.Result() != "internal_error" || time.Since(began) != time.Second {
			t.Errorf("%s after %s", answer.Result(), time.Since(began))
		}
	})
}

// TestRefusedBeforeAsking: only a request that is in order asks the provider.
func TestRefusedBeforeAsking(t *testing.T) {
	source := &fakeSource{endpoint: "https://one.example/authorize"}
	s := service(t, discovering(source))
	for _, r := range []Request{saying(authorization(testKey, "x")), signed(""), signed(query("redirect_uri", "x")), signed("product=x&customer_account_code=acme")} {
		s.Answer(t.Context(), r)
	}
	if source.asked != 0 {
		t.Errorf("asked %d times", source.asked)
	}
}

// TestConcurrently: one service for many requests while the endpoint changes.
func TestConcurrently(t *testing.T) {
	source := &fakeSource{endpoint: "https://one.example/authorize"}
	s := service(t, discovering(source), func(cfg *Config) { cfg.RateLimit = 1_000_000 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 100 {
				if i%10 == 0 {
					source.set([]string{"https://one.example/authorize", "https://two.example/authorize"}[i/10%2], nil)
				}
				if host := wantHost(s); host != "one.example" && host != "two.example" {
					t.Errorf("leads to %q", host)
				}
			}
		})
	}
	all.Wait()
}

// wantHost is the host of an answer, or what was answered instead.
func wantHost(s *Service) string {
	answer := s.Answer(context.Background(), signed(askAcme))
	_, rest, ok := strings.Cut(string(answer.Body), `"https://`)
	if answer.Status != 200 || !ok {
		return string(answer.Body)
	}
	host, _, _ := strings.Cut(rest, "/")
	return host
}
