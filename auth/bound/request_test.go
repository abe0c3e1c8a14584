package bound

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// serve answers each request with the reason why its sender is refused.
func serve(t *testing.T, c *Checker, s *Site, bound Confirmation, trusted bool) *httptest.Server {
	t.Helper()
	return httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, dpop := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
		q := s.Request(r, token, dpop, trusted)
		q.Bound, q.Leeway = bound, time.Minute
		refusal, _ := c.Check(q)
		fmt.Fprintf(w, "%s over %s", reasonOf(refusal), r.Proto)
	}))
}

// ask sends a request with a proof for a URI.
func ask(t *testing.T, client *http.Client, me *client, address, htu string, headers ...string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+theToken)
	r.Header.Set("DPoP", me.proof(t, nil, map[string]any{"htu": htu}))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestSiteOverTheWire(t *testing.T) {
	me := newClient(t, "ES256", "me")
	type kind struct {
		address, proto string
		start          func(*httptest.Server)
	}
	kinds := []kind{
		{"127.0.0.1:0", "HTTP/1.1", (*httptest.Server).Start},
		{"127.0.0.1:0", "HTTP/2.0", func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }},
	}
	if probe, err := net.Listen("tcp", "[::1]:0"); err == nil { // this machine has IPv6
		probe.Close()
		kinds = append(kinds, kind{"[::1]:0", "HTTP/1.1", (*httptest.Server).StartTLS})
	}
	for _, tt := range kinds {
		t.Run(tt.proto+" "+tt.address, func(t *testing.T) {
			server := serve(t, newChecker(t), &Site{}, Confirmation{Thumbprint: me.thumb}, false)
			listener, err := net.Listen("tcp", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			server.Listener.Close()
			server.Listener = listener
			tt.start(server)
			defer server.Close()
			there := server.URL + "/a%7Eb/../c?d=e"
			if got := ask(t, server.Client(), me, there, server.URL+"/c"); got != "nothing over "+tt.proto {
				t.Errorf("got %s", got)
			}
			if got := ask(t, server.Client(), me, there, server.URL+"/a~b/c"); got != "proof_path over "+tt.proto {
				t.Errorf("another path: got %s", got)
			}
			if got := ask(t, server.Client(), me, there, "https://gw.example.com/c", "X-Forwarded-Host", "gw.example.com", "X-Forwarded-Proto", "https"); got != "proof_origin over "+tt.proto {
				t.Errorf("a stranger's headers: got %s", got)
			}
			if got := ask(t, server.Client(), me, there, server.URL+"/c", "DPoP", "another"); got != "several_proofs over "+tt.proto {
				t.Errorf("two proofs: got %s", got)
			}
		})
	}
}

func TestSiteBehindAProxy(t *testing.T) {
	me := newClient(t, "ES256", "me")
	server := serve(t, newChecker(t), &Site{}, Confirmation{Thumbprint: me.thumb}, true)
	server.Start()
	defer server.Close()
	for _, tt := range []struct {
		htu, want string
		headers   []string
	}{
		{"https://gw.example.com:8443/a", "nothing", []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "GW.example.com:8443"}},
		{server.URL + "/a", "nothing", nil},
		{strings.Replace(server.URL, "http", "https", 1) + "/a", "nothing", []string{"X-Forwarded-Proto", "https"}},
		{server.URL + "/a", "proof_origin", []string{"X-Forwarded-Proto", "https"}},
		{"https://a/a", "proof_origin", []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "a", "X-Forwarded-Host", "b"}},
		{"https://a/a", "proof_origin", []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "a, b"}},
		{"https://a/a", "proof_origin", []string{"X-Forwarded-Proto", "https,http", "X-Forwarded-Host", "a"}},
		{"https://a/a", "proof_origin", []string{"X-Forwarded-Proto", "ftp", "X-Forwarded-Host", "a"}},
	} {
		if got := ask(t, server.Client(), me, server.URL+"/a", tt.htu, tt.headers...); !strings.HasPrefix(got, tt.want+" ") {
			t.Errorf("%s, %q: got %s, expected %s", tt.htu, tt.headers, got, tt.want)
		}
	}
}

func TestSiteWithPublicAddresses(t *testing.T) {
	s := &Site{Bases: []string{"https://gw.example.com", "https://api.example.com/v1"}}
	r := httptest.NewRequest(http.MethodGet, "http://evil.example/a?b", nil)
	r.Header.Set("X-Forwarded-Host", "evil.example")
	if q := s.Request(r, theToken, true, true); !slices.Equal(q.Bases, s.Bases) || q.Target != "http://evil.example/a?b" {
		t.Errorf("got %+v", q)
	}
}

func TestCertificatesOfTheConnection(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	mine := Confirmation{Certificate: base64.RawURLEncoding.EncodeToString(sum[:])}
	header := ":" + base64.StdEncoding.EncodeToString(der) + ":"
	for _, tt := range []struct {
		name    string
		shown   bool // in the handshake
		site    Site
		trusted bool
		header  string
		bound   Confirmation
		want    string
	}{
		{name: "shown", shown: true, bound: mine, want: "nothing"},
		{name: "not shown", bound: mine, want: "no_certificate"},
		{name: "another's", shown: true, bound: Confirmation{Certificate: oneHash}, want: "certificate"},
		{name: "a header that nobody asked for", header: header, trusted: true, bound: mine, want: "no_certificate"},
		{name: "by a trusted proxy", site: Site{CertificateHeader: "client-cert", CertificateFormat: "rfc9440"}, trusted: true, header: header, bound: mine, want: "nothing"},
		{name: "by a stranger", site: Site{CertificateHeader: "Client-Cert", CertificateFormat: "rfc9440"}, header: header, bound: mine, want: "no_certificate"},
		{name: "unreadable", site: Site{CertificateHeader: "Client-Cert", CertificateFormat: "rfc9440"}, trusted: true, header: "x", bound: mine, want: "certificate_header"},
		{name: "the proxy's own", shown: true, site: Site{CertificateHeader: "Client-Cert", CertificateFormat: "rfc9440"}, trusted: true, bound: mine, want: "no_certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newChecker(t)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				q := tt.site.Request(r, theToken, false, tt.trusted)
				q.Bound = tt.bound
				refusal, _ := c.Check(q)
				fmt.Fprint(w, reasonOf(refusal))
			}))
			server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
			server.StartTLS()
			defer server.Close()
			if tt.shown {
				server.Client().Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.header != "" {
				r.Header.Set("Client-Cert", tt.header)
			}
			response, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err != nil || string(body) != tt.want {
				t.Errorf("got %s, %v; expected %s", body, err, tt.want)
			}
		})
	}
}
