package oidcprovider

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Audience is the `aud` of every token.
const Audience = "https://gateway.example.com"

// ClientID is the `client_id` of every token, and its subject.
const ClientID = "robot"

// MTLSClientID is the client whose tokens are bound to its certificate.
const MTLSClientID = ClientID + "-mtls"

const clientSecret = "a secret of tests only"

// Opaque is what to ask Start's fetchToken for to get a token that is no JWT.
const Opaque = "opaque"

// Gateway and Keyed are clients that may ask about tokens: the one by GatewaySecret,
// the other by the key that Start was given.
const (
	Gateway       = "gateway"
	GatewaySecret = clientSecret
	Keyed         = "keyed"
)

// Algorithms are those that Start's fetchToken can be asked for.
func Algorithms() []string { return []string{"RS256", "PS256", "ES256", "EdDSA"} }

// Start runs the provider on loopback until the test ends. fetchToken gets a fresh
// access token, scope "read write", signed by one of Algorithms; what it cannot get
// fails the test and is "". What cannot be installed or started ends the test with
// what to do. keyed is the public JWK of the client Keyed, which is not there without
// it.
func Start(t testing.TB, keyed ...string) (issuerURL string, fetchToken func(alg string) string) {
	t.Helper()
	node := lookPath(t, "node")
	dir := install(t)
	var stderr bytes.Buffer
	cmd := exec.Command(node, append([]string{filepath.Join(dir, "server.mjs"), ClientID, clientSecret, Audience}, keyed...)...)
	cmd.Dir = dir
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("starting oidc-provider: %v", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("starting oidc-provider: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting oidc-provider: %v", err)
	}
	t.Cleanup(func() { end(t, cmd, stdin) })

	// The script ends when its standard input does, so this cannot hang for ever
	// but for a Node.js that neither answers nor ends.
	timer := time.AfterFunc(30*time.Second, func() { stdin.Close() })
	defer timer.Stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("oidc-provider ended before it answered; it needs Node.js 20 or newer: %v", err)
	}
	issuerURL = strings.TrimSpace(line)
	return issuerURL, func(alg string) string {
		token, err := fetch(issuerURL, ClientID, alg, nil)
		if err != nil {
			// Not Fatal: subtests may ask, on goroutines of their own.
			t.Errorf("asking oidc-provider for a token signed by %s: %v", alg, err)
		}
		return token
	}
}

func end(t testing.TB, cmd *exec.Cmd, stdin io.Closer) {
	stdin.Close()
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("oidc-provider: %v\n%s", err, cmd.Stderr)
	}
}

func lookPath(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s not found: these tests need Node.js 20 or newer with npm "+
			"(nodejs.org, or the packages nodejs and npm of Debian)", name)
	}
	return path
}

// Revoke has the provider take back a token (RFC 7009).
func Revoke(t testing.TB, issuerURL, token string) {
	t.Helper()
	res, err := post(issuerURL+"/token/revocation", ClientID, url.Values{"token": {token}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("revoking a token was answered with %d", res.StatusCode)
	}
}

// post sends a form as a client.
func post(address, as string, form url.Values, headers http.Header) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, headers)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(as), url.QueryEscape(clientSecret))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	return client.Do(req)
}

// fetch asks for a token by client credentials; the resource names the algorithm.
func fetch(issuerURL, client, alg string, headers http.Header) (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"},
		"scope":      {"read write"},
		"resource":   {"urn:gatehouse:" + alg},
	}
	res, err := post(issuerURL+"/token", client, form, headers)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer); err != nil {
		return "", fmt.Errorf("the token endpoint's answer, status %d: %w", res.StatusCode, err)
	}
	if answer.AccessToken == "" {
		return "", fmt.Errorf("status %d, %s: %s", res.StatusCode, answer.Error, answer.Description)
	}
	return answer.AccessToken, nil
}
