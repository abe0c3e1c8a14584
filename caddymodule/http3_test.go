package caddymodule_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// selfSigned writes a certificate for 127.0.0.1 and its key, and gives their paths.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}

// Over HTTP/3 streams are cut, and gRPC is refused, as over the others.
func TestHTTP3(t *testing.T) {
	if apart(t) {
		return
	}
	issuer := newIssuer(t)
	certificate, key := selfSigned(t)
	config := strings.NewReplacer("protocols h1 h2c", "protocols h1 h2 h3", "http://SITE {", "https://SITE {\n\ttls CERTIFICATE KEY").Replace(streams)
	g := start(t, config, "CERTIFICATE", certificate, "KEY", key, "ISSUER", issuer.URL, "UPSTREAM", newTicker(t).URL, "PROTOCOL", "h2c 1.1", "TIMEOUTS", "")
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() { _ = transport.Close() })
	client := &http.Client{Transport: transport}
	asGRPC := header("Content-Type", "application/grpc")
	if got := g.do(client, http.MethodPost, "https://"+g.site+"/", asGRPC); got.status != 200 || got.header.Get("Grpc-Status") != "16" {
		t.Errorf("got %d %v, want grpc-status 16", got.status, got.header)
	}
	for name, c := range map[string]struct{ contentType, each, status string }{
		"events": {"text/event-stream", "data: tick\n\n", ""},
		"gRPC":   {"application/grpc", framed(0, "tick"), "16"},
	} {
		t.Run(name, func(t *testing.T) {
			token, expiry := brief(issuer)
			stream := open(t, client, http.MethodPost, "https://"+g.site+ticks(c.contentType, c.each), bearer(token))
			got, err := io.ReadAll(stream.Body)
			if err != nil || stream.ProtoMajor != 3 || strings.Count(string(got), "tick") < 2 {
				t.Errorf("got %d bytes and %v over %s, want a stream that ends", len(got), err, stream.Proto)
			}
			if status := stream.Trailer.Get("Grpc-Status"); status != c.status {
				t.Errorf("got the status %q, want %q", status, c.status)
			}
			cutInTime(t, expiry)
		})
	}
}
