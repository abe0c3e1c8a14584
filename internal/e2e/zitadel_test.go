package e2e

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/oauth2"
)

// TestIntrospectionZitadel asks the provider that Zitadel is built on about tokens of a
// person who logged in: opaque ones, and JWTs that may be revoked.
func TestIntrospectionZitadel(t *testing.T) {
	//lint:ignore SA1019 what is newer makes encrypted JWTs: see below
	provider := startZitadel(t, op.WithCrypto(op.NewAESCrypto(sha256.Sum256([]byte("key")))))
	t.Setenv("GATEWAY_SECRET", zitadelSecret)
	for name, one := range map[string]struct{ client, options string }{
		"opaque":               {zitadelOpaque, "cache 0s"},
		"opaque, kept":         {zitadelOpaque, "cache 1s"},
		"JWT":                  {zitadelJWT, "cache 0s\ntokens all"},
		"JWT, kept":            {zitadelJWT, "cache 1s\ntokens all"},
		"the endpoint written": {zitadelOpaque, "cache 0s\nendpoint " + provider.issuer + "/oauth/introspect"},
	} {
		t.Run(name, func(t *testing.T) {
			site := serve(t, askZitadel, "ISSUER", provider.issuer, "CLIENT", one.client, "OPTIONS", one.options)
			token, other := provider.login(t, one.client), provider.login(t, one.client)
			if isJWT := strings.Count(token, ".") == 2; isJWT != (one.client == zitadelJWT) {
				t.Fatal("the token is of the wrong kind")
			}
			for range 2 {
				if status, body := get(t, site, token); status != http.StatusOK || string(body) != "id1 user" {
					t.Fatalf("a good token was answered with %d %s", status, body)
				}
			}
			if status, _ := get(t, site, "invented"); status != http.StatusUnauthorized {
				t.Errorf("an invented token was answered with %d", status)
			}
			provider.revoke(t, one.client, token)
			revoked := time.Now()
			status := http.StatusOK
			for status == http.StatusOK && time.Since(revoked) < 30*time.Second {
				status, _ = get(t, site, token)
			}
			if status != http.StatusUnauthorized {
				t.Errorf("a revoked token was answered with %d", status)
			}
			if status, body := get(t, site, other); status != http.StatusOK {
				t.Errorf("a token that was not revoked was answered with %d %s", status, body)
			}
		})
	}
}

// TestIntrospectionZitadelEncrypted: an opaque token that is an encrypted JWT is sent to
// nobody, as nothing in it says whose it is.
func TestIntrospectionZitadelEncrypted(t *testing.T) {
	provider := startZitadel(t)
	t.Setenv("GATEWAY_SECRET", zitadelSecret)
	site := serve(t, askZitadel, "ISSUER", provider.issuer, "CLIENT", zitadelOpaque, "OPTIONS", "cache 0s")
	token := provider.login(t, zitadelOpaque)
	if strings.Count(token, ".") != 4 {
		t.Fatal("the token is no encrypted JWT")
	}
	if status, _ := get(t, site, token); status != http.StatusUnauthorized {
		t.Errorf("an encrypted token was answered with %d", status)
	}
}

const askZitadel = `{
	admin off
	auto_https off
	persist_config off
	storage file_system STORAGE
	gatehouse {
		issuer ISSUER {
			name zitadel
			preset zitadel
			audience CLIENT
			kind user
			introspection {
				client_id CLIENT
				client_secret {env.GATEWAY_SECRET}
				OPTIONS
			}
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth {
		scope openid
	}
	respond "{http.auth.user.id} {http.auth.user.kind}"
}
`

// The clients of the provider, each of which may ask about its own tokens.
const (
	zitadelOpaque = "gateway"
	zitadelJWT    = "gateway-jwt"
	zitadelSecret = "a secret of 30 characters & %=+"
	zitadelBack   = "http://localhost:9999/auth/callback"
)

// zitadel is the provider of github.com/zitadel/oidc, with the storage, the pages and
// the users of its example.
type zitadel struct{ issuer string }

func startZitadel(t *testing.T, options ...op.Option) zitadel {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	kept := zitadelStorage{issuer: issuer, Storage: storage.NewStorageWithClients(storage.NewUserStore(issuer), map[string]*storage.Client{
		zitadelOpaque: storage.WebClient(zitadelOpaque, zitadelSecret, zitadelBack),
		zitadelJWT:    storage.WebClient(zitadelJWT, zitadelSecret, zitadelBack),
	})}
	server.Config.Handler = exampleop.SetupServer(issuer, kept, nil, false, options...)
	server.Start()
	t.Cleanup(server.Close)
	return zitadel{issuer}
}

// login is the access token of a person who logs in on the provider's page.
func (z zitadel) login(t *testing.T, client string) string {
	t.Helper()
	application := oauth2.Config{
		ClientID: client, ClientSecret: zitadelSecret, RedirectURL: zitadelBack, Scopes: []string{oidc.ScopeOpenID},
		Endpoint: oauth2.Endpoint{AuthURL: z.issuer + "/auth", TokenURL: z.issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
	browser := http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), zitadelBack) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	page, err := browser.Get(application.AuthCodeURL("state"))
	if err != nil {
		t.Fatal(err)
	}
	page.Body.Close()
	answer, err := browser.PostForm(page.Request.URL.String(), url.Values{
		"id":       {page.Request.URL.Query().Get("authRequestID")},
		"username": {"test-user@127.0.0.1"}, "password": {"verysecure"},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		t.Fatalf("nobody was logged in at %s, status %d: %v", answer.Request.URL, answer.StatusCode, err)
	}
	token, err := application.Exchange(t.Context(), back.Query().Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// revoke revokes a token as the client that it was issued to (RFC 7009).
func (z zitadel) revoke(t *testing.T, client, token string) {
	t.Helper()
	form := strings.NewReader(url.Values{"token": {token}}.Encode())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, z.issuer+"/revoke", form)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(zitadelSecret))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(answer.Body)
		t.Fatalf("revoking was answered with %d %s", answer.StatusCode, body)
	}
}

// zitadelStorage is the storage of the example, which says as little of a token as the
// standard allows, and has no client with JWTs; Zitadel says these members, too.
type zitadelStorage struct {
	*storage.Storage
	issuer string
}

func (s zitadelStorage) SetIntrospectionFromToken(ctx context.Context, answer *oidc.IntrospectionResponse, tokenID, subject, clientID string) error {
	if err := s.Storage.SetIntrospectionFromToken(ctx, answer, tokenID, subject, clientID); err != nil {
		return err
	}
	answer.Issuer, answer.Audience, answer.TokenType, answer.JWTID = s.issuer, oidc.Audience{clientID}, oidc.BearerToken, tokenID
	return nil
}

func (s zitadelStorage) GetClientByClientID(ctx context.Context, clientID string) (op.Client, error) {
	client, err := s.Storage.GetClientByClientID(ctx, clientID)
	if err != nil || clientID != zitadelJWT {
		return client, err
	}
	return zitadelJWTClient{client}, nil
}

type zitadelJWTClient struct{ op.Client }

func (zitadelJWTClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
