package e2e

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"

	"github.com/gatehouse-proxy/gatehouse/internal/e2e/oidcprovider"
)

// TestProofsOfOtherMakers takes the proofs that clients make that are not ours, with
// tokens that an issuer bound to their keys that is not ours either.
func TestProofsOfOtherMakers(t *testing.T) {
	issuer, _ := oidcprovider.Start(t)
	checker, err := bound.NewChecker(bound.Config{Replays: bound.NewReplays(100, time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	makers := map[string]bool{}
	for _, made := range oidcprovider.Proofs(t, issuer, "https://GW.example.com:443/a%7Eb/../c%2fd?e=f") {
		makers[made.By] = true
		t.Run(made.By+" "+made.Algorithm+" "+made.Nonce, func(t *testing.T) {
			confirmation := bound.Confirmation{Thumbprint: made.Thumbprint}
			if made.By == "oauth4webapi" {
				if confirmation = confirmationOf(t, made.Token); confirmation.Thumbprint != made.Thumbprint {
					t.Errorf("the token is bound to %s, and the client's key is %s", confirmation.Thumbprint, made.Thumbprint)
				}
			}
			q := &bound.Request{
				Token: made.Token, Bound: confirmation, DPoP: true, Proofs: []string{made.Proof},
				Method: "POST", Target: "/x/../c%2Fd?e=f", Bases: []string{"https://gw.example.com"}, Leeway: 5 * time.Second,
			}
			rules, refusal := checker.Explain(q)
			if refusal != nil {
				t.Errorf("%s: %+v", refusal.Reason, rules)
			}
			if refusal, _ := checker.Check(q); refusal != nil {
				t.Error(refusal.Reason)
			}
			if refusal, _ := checker.Check(q); refusal != bound.ErrProofRepeated {
				t.Errorf("the second time: %v", refusal)
			}
			q.Method = "GET"
			if refusal, _ := checker.Check(q); refusal != bound.ErrProofMethod {
				t.Errorf("for another method: %v", refusal)
			}
		})
	}
	if !makers["dpop"] || !makers["oauth4webapi"] {
		t.Errorf("made by %v", makers)
	}
}

// confirmationOf reads a token's cnf, as who has verified the token does.
func confirmationOf(t *testing.T, token string) bound.Confirmation {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Confirmation json.RawMessage `json:"cnf"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	c, refusal := bound.ParseConfirmation(claims.Confirmation)
	if refusal != nil {
		t.Fatalf("%s: %s", refusal.Reason, claims.Confirmation)
	}
	return c
}
