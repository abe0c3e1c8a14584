package auth

import "testing"

func TestChallenge(t *testing.T) {
	scope := *ErrScope
	scope.Scope = "read write"
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
		{"no keys", full, ErrKeysUnavailable, ``},
		{"a realm with quotes", Challenge{Realm: `a"b\c`}, ErrNoToken, `Bearer realm="a\"b\\c"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.challenge.Header(tt.refusal); got != tt.want {
				t.Errorf("got  %s\nexpected %s", got, tt.want)
			}
		})
	}
}
