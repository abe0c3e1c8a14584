package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

func refuserOf(challenge auth.Challenge, schemes schemes) *refuser {
	return newRefuser(challenge, "", schemes, &authenticator{meters: newMeters(nil), senders: new(senders)}, false, true, zap.NewNop())
}

// What is wrong stands in the challenge of the scheme that was used; the other one is
// named where the route takes it, and the configuration speaks of it.
func TestChallengesOfBothSchemes(t *testing.T) {
	const (
		bearer, bearerError = `Bearer realm="a"`, `Bearer realm="a", error="invalid_token", error_description="the token has expired"`
		dpop, dpopError     = `DPoP realm="a", algs="ES256"`, `DPoP realm="a", error="invalid_token", error_description="the token has expired", algs="ES256"`
	)
	for _, tt := range []struct {
		schemes schemes
		refusal *auth.Refusal
		dpop    bool
		want    []string
	}{
		{schemes{bearer: true}, auth.ErrExpired, false, []string{bearerError}},
		{schemes{bearer: true}, auth.ErrExpired, true, []string{bearerError}},
		{schemes{bearer: true, dpop: true}, auth.ErrNoToken, false, []string{bearer}},
		{schemes{bearer: true, dpop: true}, auth.ErrExpired, false, []string{bearerError}},
		{schemes{bearer: true, dpop: true}, auth.ErrExpired, true, []string{dpopError, bearer}},
		{schemes{bearer: true, dpop: true, announced: true}, auth.ErrNoToken, false, []string{bearer, dpop}},
		{schemes{bearer: true, dpop: true, announced: true}, auth.ErrExpired, false, []string{bearerError, dpop}},
		{schemes{dpop: true, announced: true}, auth.ErrNoToken, false, []string{dpop}},
		{schemes{dpop: true, announced: true}, auth.ErrExpired, false, []string{dpopError}},
		{schemes{bearer: true, dpop: true, announced: true}, auth.ErrKeysUnavailable, true, nil},
		{schemes{bearer: true, dpop: true, announced: true}, auth.ErrNoMachines, true, []string{`DPoP realm="a", error_description="service accounts are not let in here", algs="ES256"`}},
	} {
		f := refuserOf(auth.Challenge{Realm: "a", Algorithms: "ES256"}, tt.schemes)
		got := f.challengesOf(tt.refusal, tt.dpop)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v, %s, DPoP %v: got %q, want %q", tt.schemes, tt.refusal.Reason, tt.dpop, got, tt.want)
		}
		if len(got) > 0 {
			got[0] = "changed by another handler"
			if again := f.challengesOf(tt.refusal, tt.dpop); again[0] != tt.want[0] {
				t.Errorf("the next request gets %q", again)
			}
		}
	}
	f := refuserOf(auth.Challenge{}, schemes{bearer: true, dpop: true})
	if got := f.challengesOf(auth.ErrBound, false); len(got) != 2 {
		t.Errorf("who sends a bound token as a bearer's does not hear of the scheme: %q", got)
	}
}

// Challenges that were made beforehand are those that would be made now,
// whatever details a refusal carries.
func TestChallengesMadeBeforehand(t *testing.T) {
	challenge := auth.Challenge{Realm: `a "realm"`, ResourceMetadata: "https://a.example/x"}
	f := refuserOf(challenge, schemes{bearer: true})
	check := func(refusal *auth.Refusal) {
		if got, want := strings.Join(f.challengesOf(refusal, false), "|"), challenge.Header(auth.Bearer, refusal); got != want {
			t.Errorf("%s: got %s, want %s", refusal.Reason, got, want)
		}
	}
	for _, refusal := range auth.Refusals() {
		check(refusal)
		detailed := *refusal
		detailed.Cause = errors.New("cause")
		check(&detailed)
	}
	scope := *auth.ErrScope
	scope.Scope = "read write"
	check(&scope)
	if got := strings.Join(f.challengesOf(&scope, false), "|"); !strings.Contains(got, `scope="read write"`) {
		t.Errorf("%s does not name the scopes", got)
	}
	check(&auth.Refusal{Reason: "new", Status: http.StatusUnauthorized, Code: "invalid_token", Message: "new"})
}

// What handle_errors gets of a refusal: the status, the refusal itself, an id
// of its own and where it was made.
func TestRefusalAsCaddysError(t *testing.T) {
	f := refuserOf(auth.Challenge{}, schemes{bearer: true})
	ids := make(map[string]bool)
	for range 3 {
		repl := caddy.NewReplacer()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		err := f.refuse(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)), auth.Verdict{Refusal: auth.ErrExpired}, false)
		if reason, _ := repl.GetString(reasonPlaceholder); reason != "expired" {
			t.Errorf("the placeholder for the reason is %q", reason)
		}
		handed, ok := err.(caddyhttp.HandlerError) // bare: Caddy looks no deeper for some of it
		if !ok || handed.StatusCode != http.StatusUnauthorized || handed.Err != auth.ErrExpired {
			t.Fatalf("got %#v", err)
		}
		if handed.Trace != "caddymodule.handlerError (refuse.go)" {
			t.Errorf("the trace is %q", handed.Trace)
		}
		if len(handed.ID) != 9 || ids[handed.ID] {
			t.Errorf("the id is %q, after %v", handed.ID, ids)
		}
		ids[handed.ID] = true
	}
}
