package oidcprovider

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
)

// Proof is a DPoP proof by a client that is not ours, for a POST request.
type Proof struct {
	By         string // the package that made it
	Algorithm  string
	Token      string // bound by the issuer to the client's key, or no JWT at all
	Thumbprint string // of the key, as the package says
	Proof      string
	Nonce      string // which the proof holds; empty: none
}

// Proofs has clients make proofs for requests to a URL, some with a token of the
// issuer that [Start] started.
func Proofs(t testing.TB, issuerURL, url string) []Proof {
	t.Helper()
	dir := install(t)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), lookPath(t, "node"), filepath.Join(dir, "client.mjs"), issuerURL, ClientID, clientSecret, "urn:gatehouse:ES256", url)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("making proofs: %v\n%s", err, stderr.Bytes())
	}
	var made []Proof
	if err := json.Unmarshal(stdout.Bytes(), &made); err != nil {
		t.Fatalf("%v in %q", err, stdout.Bytes())
	}
	return made
}
