package oidcprovider

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
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
func Proofs(t testing.TB, issuerURL, target string) (made []Proof) {
	t.Helper()
	run(t, "client.mjs", issuerURL, target, &made)
	return made
}

// Answer is what a client that is not ours got of a gateway.
type Answer struct {
	By         string // the package that asked
	Algorithm  string
	Thumbprint string // of its key, as the package says
	Status     int
	Body       string
	Requests   int // until there was this answer: more than one, if a nonce was asked for
}

// Ask has clients get tokens of the issuer that [Start] started, bound to their keys,
// and ask a gateway for a URL, each three times.
func Ask(t testing.TB, issuerURL, target string) (answers []Answer) {
	t.Helper()
	run(t, "gateway.mjs", issuerURL, target, &answers)
	return answers
}

func run(t testing.TB, script, issuerURL, target string, into any) {
	t.Helper()
	dir := install(t)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), lookPath(t, "node"), filepath.Join(dir, script), issuerURL, ClientID, clientSecret, "urn:gatehouse:ES256", target)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, stderr.Bytes())
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		t.Fatalf("%v in %q", err, stdout.Bytes())
	}
}

// TokenFor gets a token that is bound to a client's certificate, in PEM.
func TokenFor(t testing.TB, issuerURL, certificate string) string {
	t.Helper()
	token, err := fetch(issuerURL, MTLSClientID, "ES256", http.Header{"X-Client-Cert": {url.PathEscape(certificate)}})
	if err != nil {
		t.Fatal(err)
	}
	return token
}
