package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// Challenges that were made beforehand are those that would be made now,
// whatever details a refusal carries.
func TestChallengesMadeBeforehand(t *testing.T) {
	challenge := auth.Challenge{Realm: `a "realm"`, ResourceMetadata: "https://a.example/x"}
	f := newRefuser(challenge, "", false, true, zap.NewNop(), newMeters(nil))
	check := func(refusal *auth.Refusal) {
		if got, want := f.challengeOf(refusal), challenge.Header(refusal); got != want {
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
	if got := f.challengeOf(&scope); !strings.Contains(got, `scope="read write"`) {
		t.Errorf("%s does not name the scopes", got)
	}
	check(&auth.Refusal{Reason: "new", Status: http.StatusUnauthorized, Code: "invalid_token", Message: "new"})
}

// What handle_errors is told of a refusal: the status, the refusal itself, an id
// of its own and where it was made.
func TestRefusalAsCaddysError(t *testing.T) {
	f := newRefuser(auth.Challenge{}, "", false, true, zap.NewNop(), newMeters(nil))
	ids := make(map[string]bool)
	for range 3 {
		repl := caddy.NewReplacer()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		err := f.refuse(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)), auth.Verdict{Refusal: auth.ErrExpired})
		if reason, _ := repl.GetString(reasonPlaceholder); reason != "expired" {
			t.Errorf("the placeholder for the reason is %q", reason)
		}
		handed, ok := err.(caddyhttp.HandlerError) // bare: Caddy looks no deeper for some of it
		if !ok || handed.StatusCode != http.StatusUnauthorized || handed.Err != auth.ErrExpired {
			t.Fatalf("got %#v", err)
		}
		if handed.Trace != "caddymodule.handlerError (refusal.go)" {
			t.Errorf("the trace is %q", handed.Trace)
		}
		if len(handed.ID) != 9 || ids[handed.ID] {
			t.Errorf("the id is %q, after %v", handed.ID, ids)
		}
		ids[handed.ID] = true
	}
}
