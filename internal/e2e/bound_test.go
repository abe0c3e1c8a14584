package e2e

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gatehouse-proxy/gatehouse/internal/e2e/oidcprovider"
	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const boundSites = `{
	admin off
	auto_https off
	persist_config off
	storage file_system STORAGE
	servers {
		protocols h1 h2
	}
	gatehouse {
		issuer ISSUER {
			name certified
			audience AUDIENCE
			bound required
		}
		service_accounts {
			registration optional
		}
		dpop {
			nonce NONCE
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle_path /stripped/* {
		bearer_auth
		respond "{http.auth.user.bound} {http.auth.user.key}"
	}
}
https://localhost:PORT {
	bind 127.0.0.1
	tls CERTIFICATE KEY {
		client_auth {
			mode request
		}
	}
	bearer_auth
	respond "{http.auth.user.bound} {http.auth.user.key}"
}
`

// port is a free one.
func port(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address[strings.LastIndexByte(address, ':')+1:]
}

// command runs a program and gives what it prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, output)
	}
	return string(output)
}

// selfSigned has OpenSSL make a key and a certificate.
func selfSigned(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	command(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
		"-subj", "/CN="+name, "-addext", "subjectAltName=DNS:"+name, "-keyout", key, "-out", certificate)
	return certificate, key
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDPoPOfOtherMakers lets in clients that are not ours with tokens that an issuer
// bound to their keys that is not ours either, without nonces and with them.
func TestDPoPOfOtherMakers(t *testing.T) {
	issuer, _ := oidcprovider.Start(t)
	certificate, key := selfSigned(t, "localhost")
	for _, mode := range []string{"off", "node"} {
		t.Run("nonce "+mode, func(t *testing.T) {
			site := serve(t, boundSites, "ISSUER", issuer, "AUDIENCE", oidcprovider.Audience, "NONCE", mode, "PORT", port(t), "CERTIFICATE", certificate, "KEY", key)
			makers, again := map[string]int{}, map[string]bool{}
			for _, a := range oidcprovider.Ask(t, issuer, site+"stripped/a%7Eb?c=d") {
				makers[a.By]++
				if want := "dpop " + a.Thumbprint; a.Status != 200 || a.Body != want {
					t.Errorf("%s %s: %d %q, want %q", a.By, a.Algorithm, a.Status, a.Body, want)
				}
				want := 1 // later proofs have the nonce that came with the first refusal
				if who := a.By + a.Algorithm; mode == "node" && !again[who] {
					want, again[who] = 2, true
				}
				if a.Requests != want {
					t.Errorf("%s %s: asked %d times, want %d", a.By, a.Algorithm, a.Requests, want)
				}
			}
			if makers["oauth4webapi"] != 6 || makers["dpop"] != 6 {
				t.Errorf("asked by %v", makers)
			}
		})
	}
}

// TestCertificateOfOpenSSL lets curl in with a certificate of OpenSSL, to which an issuer
// bound the token that is not ours.
func TestCertificateOfOpenSSL(t *testing.T) {
	issuer, _ := oidcprovider.Start(t)
	certificate, key := selfSigned(t, "localhost")
	at := port(t)
	serve(t, boundSites, "ISSUER", issuer, "AUDIENCE", oidcprovider.Audience, "NONCE", "off", "PORT", at, "CERTIFICATE", certificate, "KEY", key)
	mine, myKey := selfSigned(t, "robot")
	others, theirKey := selfSigned(t, "robot")
	token := oidcprovider.TokenFor(t, issuer, readFile(t, mine))
	thumbprint := confirmationOf(t, token).Certificate
	der := filepath.Join(t.TempDir(), "der")
	command(t, "openssl", "x509", "-in", mine, "-outform", "der", "-out", der)
	if sum := strings.Fields(command(t, "openssl", "dgst", "-sha256", "-r", der))[0]; sum != hexOf(t, thumbprint) {
		t.Fatalf("the token is bound to %s, and the certificate is %s", thumbprint, sum)
	}
	ask := func(args ...string) string {
		return command(t, "curl", append([]string{"-s", "--cacert", certificate, "-w", " %{http_code}", "-H", "Authorization: Bearer " + token, "https://localhost:" + at + "/a"}, args...)...)
	}
	if got, want := ask("--cert", mine, "--key", myKey), "mtls "+thumbprint+" 200"; got != want {
		t.Errorf("with its certificate: %q, want %q", got, want)
	}
	if got := ask("--cert", others, "--key", theirKey); !strings.HasSuffix(got, " 401") {
		t.Errorf("with another: %q", got)
	}
	if got := ask(); !strings.HasSuffix(got, " 401") {
		t.Errorf("with none: %q", got)
	}
}

func hexOf(t *testing.T, hash string) string {
	t.Helper()
	bytes, err := base64.RawURLEncoding.DecodeString(hash)
	if err != nil {
		t.Fatal(err)
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range bytes {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// TestProofByShell runs the lines of the page by which a shell makes a proof.
func TestProofByShell(t *testing.T) {
	_, rest, found := strings.Cut(readFile(t, "../../docs/bound-tokens.md"), "b64() {")
	script, _, closed := strings.Cut("b64() {"+rest, "```")
	if !found || !closed {
		t.Fatal("the page has no such lines")
	}
	issuer, err := idp.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	certificate, key := selfSigned(t, "localhost")
	site := serve(t, boundSites, "ISSUER", issuer.URL, "AUDIENCE", "https://gateway.example.com", "NONCE", "off", "PORT", port(t), "CERTIFICATE", certificate, "KEY", key)
	block, _ := pem.Decode([]byte(readFile(t, certificate)))
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public, err := jwk.FromRaw(parsed.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	thumbprint := base64.RawURLEncoding.EncodeToString(sum)
	token := issuer.Mint(map[string]any{"cnf": map[string]any{"jkt": thumbprint}})
	script = strings.ReplaceAll(script, "https://gateway.example.com/a", site+"stripped/a")
	for range 5 { // numbers of a signature may be short
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", script)
		cmd.Dir, cmd.Env = filepath.Dir(key), append(os.Environ(), "TOKEN="+token)
		if got, err := cmd.Output(); err != nil || string(got) != "dpop "+thumbprint {
			t.Errorf("got %q, %v", got, err)
		}
	}
}
