package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

const ssoPath = "/api/v4/sso_url?product=p&customer_account_code="

// down never has metadata.
type down struct{}

func (down) Metadata(context.Context) (*issuer.Metadata, error) {
	return nil, errors.New("connection refused")
}

// withSSO has an account that works and one whose provider is down.
func withSSO(services *api.Services, s *site) {
	account := func(code string) sso.Account {
		return sso.Account{Code: code, ClientID: "c", RedirectURIs: []string{"https://app.example.com"}}
	}
	good, bad := account("good"), account("bad")
	good.AuthorizationEndpoint, bad.Metadata = "https://login.example.com/authorize", down{}
	service, err := sso.New(sso.Config{Products: []string{"p"}, Accounts: []sso.Account{good, bad}})
	if err != nil {
		s.t.Fatal(err)
	}
	services.SSO, services.SSOGroup = service, api.Group{Name: "readers"}
}

func (s *site) reader() edit { return s.token(map[string]any{"groups": []string{"readers"}}) }

func none(r *http.Request) { r.Header.Del("Authorization") }

// ssoFails holds an answer against the body that this route's clients know.
func (a answer) ssoFails(t *testing.T, code sso.Code, text string) {
	t.Helper()
	body := a.object(t)
	message, _ := body["message"].(string)
	if a.status != code.Status() || body["status"] != float64(a.status) || body["code"] != string(code) || len(body) != 3 || !strings.Contains(message, text) {
		t.Errorf("got %d %q, want %s about %q", a.status, a.body, code, text)
	}
}

func TestSSONotConfigured(t *testing.T) {
	s := newSite(t)
	s.send("GET", ssoPath+"good", "").ssoFails(t, sso.CodeNotFound, "sso { … }")
}

func TestSSOByToken(t *testing.T) {
	s := newSite(t, withSSO)
	got := s.send("GET", ssoPath+"good", "", s.reader())
	if url, _ := got.object(t)["url"].(string); got.status != http.StatusOK || !strings.HasPrefix(url, "https://login.example.com/authorize?") {
		t.Errorf("got %d %q", got.status, got.body)
	}
	s.send("GET", ssoPath+"good", "", s.admin()).ssoFails(t, sso.CodeInsufficientScope, "groups")
	s.send("GET", ssoPath+"good", "", s.token(map[string]any{"exp": 1})).ssoFails(t, sso.CodeInvalidToken, "expired")
	s.send("GET", ssoPath+"good", "", header("Authorization", "Bearer a b")).ssoFails(t, sso.CodeInvalidHeaders, "Bearer")
	s.send("GET", ssoPath+"good", "", none).ssoFails(t, sso.CodeMissingHeaders, "Authorization, Date")
}

// What the gate answers becomes what this route's clients know.
func TestSSOWordsRefusals(t *testing.T) {
	away := *auth.ErrKeysUnavailable
	away.RetryAfter = 1500 * time.Millisecond
	var refusal *auth.Refusal
	s := newSite(t, withSSO, func(services *api.Services, _ *site) {
		services.Authenticate = func(*http.Request, ...api.Group) (*auth.Principal, *auth.Refusal) { return nil, refusal }
	})
	for code, with := range map[sso.Code]*auth.Refusal{
		sso.CodeInvalidHeaders: auth.ErrTooLong, sso.CodeInvalidToken: auth.ErrSignature,
		sso.CodeInsufficientScope: auth.ErrScope, sso.CodeTemporarilyUnavailable: &away,
	} {
		refusal = with
		got := s.send("GET", ssoPath+"good", "")
		got.ssoFails(t, code, with.Message)
		if challenge := got.header.Get("WWW-Authenticate"); (challenge == "") != (got.status == http.StatusServiceUnavailable) {
			t.Errorf("%s: got the challenge %q", code, challenge)
		}
		if after := got.header.Get("Retry-After"); (after == "2") != (got.status == http.StatusServiceUnavailable) {
			t.Errorf("%s: got Retry-After %q", code, after)
		}
	}
	if failed := s.failures(); len(failed) > 0 {
		t.Errorf("logged %v: who lost the keys says so", failed)
	}
}

func TestSSOWithoutAnIssuerOfTheAPI(t *testing.T) {
	s := newSite(t, withSSO, func(services *api.Services, _ *site) { services.Authenticate = nil })
	s.send("GET", ssoPath+"good", "", s.reader()).ssoFails(t, sso.CodeInsufficientScope, "api { issuer … }")
}

// Trust is for who comes without a token; a bad one is still bad.
func TestSSOTrusted(t *testing.T) {
	s := newSite(t, withSSO)
	s.trusted = true
	if got := s.send("GET", ssoPath+"good", "", none); got.status != http.StatusOK {
		t.Errorf("got %d %q", got.status, got.body)
	}
	s.send("GET", ssoPath+"good", "", s.token(map[string]any{"exp": 1})).ssoFails(t, sso.CodeInvalidToken, "expired")
	s.send("GET", ssoPath+"good", "", header("Authorization", "x")).ssoFails(t, sso.CodeMissingHeaders, "Date")
}

// A provider that is down is one line, not one a request, and the caller is not
// given a reason.
func TestSSOOutageIsLoggedOnce(t *testing.T) {
	s := newSite(t, withSSO)
	for range 5 {
		got := s.send("GET", ssoPath+"bad", "", s.reader())
		got.ssoFails(t, sso.CodeInternal, "cannot be had")
		if strings.Contains(got.body, "refused") {
			t.Errorf("got %q", got.body)
		}
	}
	failed := s.failures()
	if len(failed) != 1 || failed[0].Cause == nil || !strings.Contains(failed[0].Cause.Error(), "connection refused") {
		t.Errorf("logged %v, want one line with the cause", failed)
	}
}
