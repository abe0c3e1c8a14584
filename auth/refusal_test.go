package auth

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
)

// The set is closed: whatever this package answers, a caller has been promised
// to be able to enumerate.
func TestRefusals(t *testing.T) {
	codes := map[int][]string{
		http.StatusBadRequest:         {"invalid_request"},
		http.StatusUnauthorized:       {"", "invalid_token", "insufficient_user_authentication"},
		http.StatusForbidden:          {"", "insufficient_scope"},
		http.StatusServiceUnavailable: {""},
	}
	reason := regexp.MustCompile(`^[a-z][a-z_]*$`)
	message := regexp.MustCompile(`^[a-z][\x20-\x21\x23-\x5B\x5D-\x7E]*[a-zA-Z]$`)
	reasons, messages := map[string]bool{}, map[string]bool{}
	for _, r := range Refusals() {
		if !reason.MatchString(r.Reason) || reasons[r.Reason] {
			t.Errorf("the reason %q is malformed or not unique", r.Reason)
		}
		if !message.MatchString(r.Message) || messages[r.Message] {
			t.Errorf("%s: the message %q is malformed or not unique", r.Reason, r.Message)
		}
		if !slices.Contains(codes[r.Status], r.Code) {
			t.Errorf("%s: code %q with status %d", r.Reason, r.Code, r.Status)
		}
		if r.HasDemands() || r.RetryAfter != 0 && r.Status != http.StatusServiceUnavailable || r.Cause != nil {
			t.Errorf("%s carries details of a request", r.Reason)
		}
		if r.Error() != r.Message {
			t.Errorf("%s: the error is %q", r.Reason, r.Error())
		}
		reasons[r.Reason], messages[r.Message] = true, true
	}
	if ErrNoToken.Status != http.StatusUnauthorized || ErrNoToken.Code != "" {
		t.Error("a request without a token is answered with an error (RFC 6750, section 3.1)")
	}
	Refusals()[0] = nil
	if Refusals()[0] == nil {
		t.Error("a caller can change the set")
	}
}

// Every refusal in the source is made by define, and so is listed.
func TestRefusalsAreAllListed(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared, literals := 0, 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.ValueSpec:
				if strings.HasPrefix(node.Names[0].Name, "Err") {
					declared++
				}
			case *ast.CompositeLit:
				if kind, ok := node.Type.(*ast.Ident); ok && kind.Name == "Refusal" {
					literals++
				}
			}
			return true
		})
	}
	if declared != len(Refusals()) || literals != 1 {
		t.Errorf("%d refusals are declared and %d listed, made in %d places; expected one", declared, len(Refusals()), literals)
	}
}

func TestRefusalIs(t *testing.T) {
	cause := errors.New("cause")
	detailed := *ErrKeysUnavailable
	detailed.Cause = cause
	err := fmt.Errorf("context: %w", &detailed)
	if !errors.Is(err, ErrKeysUnavailable) || !errors.Is(err, cause) {
		t.Error("neither the refusal nor its cause is found")
	}
	if errors.Is(err, ErrExpired) || errors.Is(cause, ErrExpired) || ErrExpired.Unwrap() != nil {
		t.Error("another refusal is found")
	}
}

func TestChallenge(t *testing.T) {
	scope := *ErrScope
	scope.Scope = "read write"
	weak, old, login := *ErrACR, *ErrAuthTime, *ErrAuthTime
	weak.ACR, old.MaxAge, login.ACR, login.MaxAge = "phr urn:acme:mfa", 5*time.Minute, "phr", time.Hour
	full := Challenge{Realm: "gateway", ResourceMetadata: "https://a.example/.well-known/oauth-protected-resource"}
	const metadata = `, resource_metadata="https://a.example/.well-known/oauth-protected-resource"`
	tests := []struct {
		name      string
		challenge Challenge
		refusal   *Refusal
		want      string
	}{
		{"no token", full, ErrNoToken, `Bearer realm="gateway"` + metadata},
		{"no token, no realm", Challenge{}, ErrNoToken, `Bearer`},
		{"a bad request", Challenge{Realm: "g"}, ErrSeveralHeaders, `Bearer realm="g", error="invalid_request", error_description="the request has several Authorization headers"`},
		{"a bad token", full, ErrExpired, `Bearer realm="gateway", error="invalid_token", error_description="the token has expired"` + metadata},
		{"no realm", Challenge{}, ErrExpired, `Bearer error="invalid_token", error_description="the token has expired"`},
		{"scope", Challenge{Realm: "g"}, &scope, `Bearer realm="g", error="insufficient_scope", error_description="the token lacks a scope that is required here", scope="read write"`},
		{"group", Challenge{Realm: "g"}, ErrGroup, `Bearer realm="g", error_description="the caller is in none of the groups required here"`},
		{"no token where scopes are asked for", Challenge{Realm: "g", Scope: "read write"}, ErrNoToken, `Bearer realm="g", scope="read write"`},
		{"a bad token where scopes are asked for", Challenge{Scope: "read"}, ErrExpired, `Bearer error="invalid_token", error_description="the token has expired", scope="read"`},
		{"a bad request where scopes are asked for", Challenge{Scope: "read"}, ErrTooLong, `Bearer error="invalid_request", error_description="the token is longer than 16 KiB"`},
		{"group where scopes are asked for", Challenge{Scope: "read"}, ErrGroup, `Bearer error_description="the caller is in none of the groups required here"`},
		{"acr", Challenge{}, &weak, `Bearer error="insufficient_user_authentication", error_description="a stronger way to log in is required here", acr_values="phr urn:acme:mfa"`},
		{"auth_time", Challenge{}, &old, `Bearer error="insufficient_user_authentication", error_description="a more recent login is required here", max_age="300"`},
		{"a login where scopes are asked for", Challenge{Realm: "g", Scope: "pay"}, &login, `Bearer realm="g", error="insufficient_user_authentication", ` +
			`error_description="a more recent login is required here", scope="pay", acr_values="phr", max_age="3600"`},
		{"no keys", full, ErrKeysUnavailable, ``},
		{"a realm with quotes", Challenge{Realm: `a"b\c`}, ErrNoToken, `Bearer realm="a\"b\\c"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.challenge.Header(Bearer, tt.refusal); got != tt.want {
				t.Errorf("got  %s\nexpected %s", got, tt.want)
			}
		})
	}
}

func TestDPoPChallenge(t *testing.T) {
	c := Challenge{Realm: "a", Algorithms: "ES256 EdDSA"}
	for want, got := range map[string]string{
		`DPoP realm="a", algs="ES256 EdDSA"`: c.Header(DPoP, ErrNoToken),
		`DPoP realm="a", error="use_dpop_nonce", error_description="the DPoP proof needs a nonce of this server", algs="ES256 EdDSA"`:                c.Header(DPoP, senderRefusals[bound.ErrNoNonce]),
		`DPoP realm="a", error="invalid_dpop_proof", error_description="the DPoP proof is for another method", algs="ES256 EdDSA"`:                   c.Header(DPoP, senderRefusals[bound.ErrProofMethod]),
		`DPoP realm="a", error="invalid_token", error_description="the DPoP proof is by another key than the token is bound to", algs="ES256 EdDSA"`: c.Header(DPoP, senderRefusals[bound.ErrProofBinding]),
		`Bearer realm="a"`: c.Header(Bearer, ErrNoToken),
		``:                 c.Header(DPoP, senderRefusals[bound.ErrReplaysFull]),
	} {
		if got != want {
			t.Errorf("got %s, expected %s", got, want)
		}
	}
}
