package idp_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

var robot = idp.Client{
	ID: "robot", Secret: "s3cr&t +/ü", Scopes: []string{"read", "write"}, Groups: []string{"ops"},
}

// ask posts a form, with HTTP Basic when id is not empty.
func ask(t *testing.T, iss *idp.Issuer, c *http.Client, id, secret string, form url.Values) (int, http.Header, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, iss.TokenURL(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return do(t, c, req)
}

func do(t *testing.T, c *http.Client, req *http.Request) (int, http.Header, map[string]any) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	status, header, body := read(t, res)
	if body == "" {
		return status, header, nil
	}
	return status, header, object(t, body)
}

func TestClientCredentials(t *testing.T) {
	iss, c := start(t, idp.WithClient(robot))
	basic := func(form url.Values) (int, http.Header, map[string]any) {
		return ask(t, iss, c, robot.ID, robot.Secret, form)
	}
	post := func(form url.Values) (int, http.Header, map[string]any) {
		form.Set("client_id", robot.ID)
		form.Set("client_secret", robot.Secret)
		return ask(t, iss, c, "", "", form)
	}
	for name, by := range map[string]func(url.Values) (int, http.Header, map[string]any){
		"client_secret_basic": basic, "client_secret_post": post,
	} {
		t.Run(name, func(t *testing.T) {
			status, header, res := by(url.Values{"grant_type": {"client_credentials"}})
			if status != http.StatusOK {
				t.Fatalf("status %d: %v", status, res)
			}
			if header.Get("Cache-Control") != "no-store" || res["token_type"] != "Bearer" ||
				res["expires_in"] != float64(3600) || res["scope"] != "read write" {
				t.Errorf("Cache-Control %q, answer %v", header.Get("Cache-Control"), res)
			}
			claims, err := verify(t, served(t, iss, c), res["access_token"].(string))
			if err != nil {
				t.Fatal(err)
			}
			if claims["sub"] != "robot" || claims["client_id"] != "robot" || claims["scope"] != "read write" ||
				claims["aud"] != idp.DefaultAudience || claims["jti"] == nil {
				t.Errorf("claims = %v", claims)
			}
		})
	}
	if n := iss.TokenRequests(); n != 2 {
		t.Errorf("TokenRequests = %d, want 2", n)
	}
}

func TestTokenRequestNarrows(t *testing.T) {
	iss, c := start(t, idp.WithClient(robot))
	_, _, res := ask(t, iss, c, robot.ID, robot.Secret, url.Values{
		"grant_type": {"client_credentials"}, "scope": {"read"},
		"resource": {"https://a.example", "https://b.example"},
	})
	claims, err := verify(t, served(t, iss, c), res["access_token"].(string))
	if err != nil {
		t.Fatal(err)
	}
	aud, _ := claims["aud"].([]any)
	if claims["scope"] != "read" || len(aud) != 2 || aud[1] != "https://b.example" {
		t.Errorf("claims = %v", claims)
	}
}

func TestTokenErrors(t *testing.T) {
	iss, c := start(t, idp.WithClient(robot))
	grant := url.Values{"grant_type": {"client_credentials"}}
	with := func(extra url.Values) url.Values {
		all := url.Values{"grant_type": {"client_credentials"}}
		for k, v := range extra {
			all[k] = v
		}
		return all
	}
	tests := []struct {
		name, id, secret string
		form             url.Values
		status           int
		code             string
	}{
		{"no credentials", "", "", grant, 401, "invalid_client"},
		{"wrong secret", "robot", "guess", grant, 401, "invalid_client"},
		{"unknown client", "nobody", robot.Secret, grant, 401, "invalid_client"},
		{"empty secret of an unknown client", "nobody", "", grant, 401, "invalid_client"},
		{"wrong secret in the body", "", "", with(url.Values{"client_id": {"robot"}, "client_secret": {"x"}}), 401, "invalid_client"},
		{"both ways", "robot", robot.Secret, with(url.Values{"client_secret": {robot.Secret}}), 400, "invalid_request"},
		{"no grant", "robot", robot.Secret, url.Values{}, 400, "invalid_request"},
		{"other grant", "robot", robot.Secret, url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type"},
		{"repeated", "robot", robot.Secret, url.Values{"grant_type": {"client_credentials", "password"}}, 400, "invalid_request"},
		{"scope", "robot", robot.Secret, with(url.Values{"scope": {"read admin"}}), 400, "invalid_scope"},
		{"too long", "robot", robot.Secret, with(url.Values{"scope": {strings.Repeat("a", 70<<10)}}), 400, "invalid_request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, header, res := ask(t, iss, c, tt.id, tt.secret, tt.form)
			if status != tt.status || res["error"] != tt.code {
				t.Errorf("status %d, error %v, want %d %s", status, res["error"], tt.status, tt.code)
			}
			if (header.Get("WWW-Authenticate") != "") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate = %q", header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestTokenEndpointTakesOnlyForms(t *testing.T) {
	iss, c := start(t, idp.WithClient(robot))
	req, err := http.NewRequest(http.MethodPost, iss.TokenURL(), strings.NewReader(`{"grant_type":"client_credentials"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if status, _, res := do(t, c, req); status != 400 || res["error"] != "invalid_request" {
		t.Errorf("JSON: status %d, %v", status, res)
	}
	status, header, _ := get(t, c, iss.TokenURL())
	if status != http.StatusMethodNotAllowed || header.Get("Allow") != "POST" {
		t.Errorf("GET: status %d, Allow %q", status, header.Get("Allow"))
	}
}

func TestClientsDiffer(t *testing.T) {
	iss, c := start(t, idp.WithAlgorithms("ES256", "EdDSA"),
		idp.WithClient(idp.Client{ID: "late", Secret: "x", Lifetime: -time.Hour}),
		idp.WithClient(idp.Client{ID: "ed", Secret: "x", Algorithm: "EdDSA", Audience: []string{"a", "b"}}),
		idp.WithClient(idp.Client{ID: "rsa", Secret: "x", Algorithm: "RS256"}))
	iss.AddClient(idp.Client{ID: "odd", Secret: "x", Claims: map[string]any{"sub": idp.Absent, "gty": "client-credentials"}})
	grant := url.Values{"grant_type": {"client_credentials"}}
	claimsOf := func(id string) map[string]any {
		_, _, res := ask(t, iss, c, id, "x", grant)
		claims, err := verify(t, served(t, iss, c), res["access_token"].(string))
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		return claims
	}
	late := claimsOf("late")
	if exp, iat := late["exp"].(float64), late["iat"].(float64); exp >= float64(time.Now().Unix()) || iat >= exp {
		t.Errorf("late: iat %v, exp %v", iat, exp)
	}
	if aud, _ := claimsOf("ed")["aud"].([]any); len(aud) != 2 {
		t.Errorf("ed: aud %v", aud)
	}
	odd := claimsOf("odd")
	if _, has := odd["sub"]; has || odd["gty"] != "client-credentials" {
		t.Errorf("odd: %v", odd)
	}
	if status, _, res := ask(t, iss, c, "rsa", "x", grant); status != 500 || res["error"] != "server_error" {
		t.Errorf("rsa without such a key: status %d, %v", status, res)
	}
}
