package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/gatehouse-proxy/gatehouse/internal/e2e/oidcprovider"
	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
)

const listening = `{
	admin off
	auto_https off
	persist_config off
	storage file_system STORAGE
	gatehouse {
		issuer ISSUER {
			name certified
			audience AUDIENCE
			events {
				audience AUDIENCE
				backchannel_logout CLIENT
				push
				poll ISSUER/poll {
					every 1s
				}
			}
		}
	}
}
http://SITE {
	bind 127.0.0.1
	gatehouse_api
	bearer_auth
	respond "in"
}
`

// TestEventsOfACertifiedProvider: logout tokens of oidc-provider itself, and security
// events that are signed by a library of others, pushed and fetched.
func TestEventsOfACertifiedProvider(t *testing.T) {
	site, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + site + "/gatehouse/issuers/certified/"
	sender := oidcprovider.StartSender(t, base+"logout")
	text := strings.NewReplacer("ISSUER", sender.URL, "AUDIENCE", oidcprovider.Audience, "CLIENT", oidcprovider.ClientID, "SITE", site, "STORAGE", t.TempDir()).Replace(listening)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	token := func(who, session string, age time.Duration) string {
		return sender.Do("token", map[string]any{"sub": who, "sid": session, "iat": time.Now().Add(-age).Unix()})
	}
	answers := func(token string) int {
		status, _ := get(t, "http://"+site+"/", token)
		return status
	}
	for end := time.Now().Add(30 * time.Second); answers(token("nobody", "none", 0)) != http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody is let in")
		}
	}

	for who, say := range map[string]func() string{
		"alice": func() string { return sender.Do("logout", map[string]any{"sub": "alice", "sid": "session-of-alice"}) },
		"bob":   func() string { return sender.Do("push", map[string]any{"sub": "bob", "url": base + "events"}) },
		"carol": func() string { return sender.Do("queue", map[string]any{"sub": "carol"}) },
	} {
		t.Run(who, func(t *testing.T) {
			old := token(who, "session-of-"+who, time.Minute)
			if status := answers(old); status != http.StatusOK {
				t.Fatalf("got %d before", status)
			}
			said := say()
			if strings.HasPrefix(said, "failed") || strings.HasPrefix(said, "4") || strings.HasPrefix(said, "5") {
				t.Fatalf("the provider says: %s", said)
			}
			for end := time.Now().Add(30 * time.Second); answers(old) != http.StatusUnauthorized; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("still let in, though the provider says: %s", said)
				}
			}
			if status := answers(token(who, "another", -10*time.Second)); status != http.StatusOK {
				t.Errorf("got %d for a new login", status)
			}
		})
	}
	for end := time.Now().Add(30 * time.Second); sender.Do("waiting", nil) != "0"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what was fetched is not acknowledged")
		}
	}
}
