package command

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const someRevocation = `{"id":"62ae998c-f4f4-5bc5-9660-68c68a1dd4bc","issuer":"acme","issuer_identifier":"https://login.acme.example","subject":"alice",` +
	`"issued_before":1800000000,"reason":"left","by":"acme/root","created_at":"2027-01-15T08:00:00Z","expires_at":"2027-01-16T08:00:00Z"}`

// tokenFile writes what may be a token.
func tokenFile(t *testing.T, scheme, payload string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token.jwt")
	token := scheme + " e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln\n"
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRevokeSends(t *testing.T) {
	g, s := newSite(t)
	g.answers["POST "+revocationsPath] = answer{status: http.StatusCreated, body: someRevocation}
	for want, args := range map[string][]string{
		`{"reason":"left","subject":"alice"}`:                   {"--subject", "alice", "--reason", "left"},
		`{"issuer":"acme","session":"s-1"}`:                     {"--session", "s-1", "--issuer", "acme"},
		`{"client":"web","issued_before":1798761600}`:           {"--client", "web", "--issued-before", "2027-01-01"},
		`{"expires_at":"2030-01-01T00:00:00Z","subject":"bob"}`: {"--subject", "bob", "--until", "2030-01-01"},
		`{"expires_at":"2100-01-01T00:10:00Z","issuer":"https://login.acme.example","token_id":"t-1"}`: {
			"--token", tokenFile(t, "Bearer", `{"iss":"https://login.acme.example","jti":"t-1","exp":4102444800}`),
		},
		`{"issuer":"https://login.acme.example","token_id":"t-2"}`: {
			"--token", tokenFile(t, "DPoP", `{"iss":"https://login.acme.example","jti":"t-2"}`),
		},
	} {
		r := s.run(append([]string{"revoke"}, args...)...)
		if r.err != nil {
			t.Errorf("%q: %v", args, r.err)
		}
		if got := g.bodies[len(g.bodies)-1]; got != want {
			t.Errorf("%q sent %s, want %s", args, got, want)
		}
		for _, want := range []string{"subject alice", "acme, https://login.acme.example", "left", "acme/root", "62ae998c"} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("%q shows %s, want %s in it", args, r.stdout, want)
			}
		}
	}
}

func TestRevokeRefusesBeforeItSends(t *testing.T) {
	g, s := newSite(t)
	for want, args := range map[string][]string{
		"at least one of the flags":     {},
		"none of the others can be":     {"--subject", "a", "--client", "b"},
		"--subject is empty":            {"--subject", ""},
		"holds no signed JWT":           {"--token", tokenFile(t, "Bearer", "x")},
		"names no issuer":               {"--token", tokenFile(t, "Bearer", `{"iss":"https://login.acme.example"}`)},
		`--issued-before: found "soon"`: {"--subject", "a", "--issued-before", "soon"},
		`--until: found "never"`:        {"--subject", "a", "--until", "never"},
	} {
		r := s.run(append([]string{"revoke"}, args...)...)
		if r.err == nil || !strings.Contains(r.err.Error(), want) {
			t.Errorf("%q: %v, want %s", args, r.err, want)
		}
	}
	if len(g.bodies) > 0 {
		t.Errorf("sent %q", g.bodies)
	}
}

func TestTokenRevocations(t *testing.T) {
	g, s := newSite(t)
	g.answers["GET "+revocationsPath] = answer{status: http.StatusOK, body: "[" + someRevocation + "]"}
	g.answers["DELETE "+revocationsPath+"/62ae998c-f4f4-5bc5-9660-68c68a1dd4bc"] = answer{status: http.StatusNoContent}
	r := s.run("revocations", "list", "--issuer", "acme", "--search", "alice")
	for _, want := range []string{"TARGET", "subject", "alice", "acme/root", "62ae998c-f4f4-5bc5-9660-68c68a1dd4bc"} {
		if r.err != nil || !strings.Contains(r.stdout, want) {
			t.Errorf("listed %s, %v, want %s in it", r.stdout, r.err, want)
		}
	}
	if got := g.asked[len(g.asked)-1]; got != "GET /api/revocations?issuer=acme&limit=1000&search=alice" {
		t.Errorf("asked %s", got)
	}
	r = s.run("revocations", "delete", "62ae998c-f4f4-5bc5-9660-68c68a1dd4bc")
	if r.err != nil || !strings.Contains(r.stdout, "62ae998c") {
		t.Errorf("deleted: %s, %v", r.stdout, r.err)
	}
}
