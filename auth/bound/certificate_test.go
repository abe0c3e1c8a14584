package bound

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// certificateOf makes a certificate, and gives its DER.
func certificateOf(t testing.TB, name string) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// escapedPEM is how nginx and Envoy write a certificate.
func escapedPEM(der []byte) string {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

func TestCertificateHeaders(t *testing.T) {
	der, other := certificateOf(t, "me"), certificateOf(t, "other")
	sum := sha256.Sum256(der)
	hash, escaped := hex.EncodeToString(sum[:]), escapedPEM(der)
	std := base64.StdEncoding.EncodeToString(der)
	twice := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other})))
	key := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	headers := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der, Headers: map[string]string{"a": "b"}})))
	for _, tt := range []struct {
		name, format, value string
		good                bool
	}{
		{"as RFC 9440 says", "rfc9440", ":" + std + ":", true},
		{"without padding", "rfc9440", ":" + strings.TrimRight(std, "=") + ":", true},
		{"no colons", "rfc9440", std, false},
		{"one colon", "rfc9440", ":" + std, false},
		{"a colon alone", "rfc9440", ":", false},
		{"too few colons", "rfc9440", ":", false},
		{"base64url", "rfc9440", ":" + strings.NewReplacer("+", "-", "/", "_").Replace(std) + "-_-_:", false},
		{"a line break", "rfc9440", ":" + std[:8] + "\n" + std[8:] + ":", false},
		{"a list", "rfc9440", ":" + std + ":, :" + std + ":", false},
		{"a parameter", "rfc9440", ":" + std + ":;a=b", false},
		{"PEM", "rfc9440", escaped, false},

		{"as nginx writes it", "pem", escaped, true},
		{"with a plus as it is", "pem", strings.ReplaceAll(escaped, "%2B", "+"), true},
		{"not escaped but in one line", "pem", "-----BEGIN CERTIFICATE-----" + std + "-----END CERTIFICATE-----", false},
		{"a broken escape", "pem", escaped + "%", false},
		{"two certificates", "pem", twice, false},
		{"a key", "pem", key, false},
		{"with headers", "pem", headers, false},
		{"text in front", "pem", "x" + escaped, false},
		{"text behind", "pem", escaped + "x", false},
		{"DER", "pem", url.PathEscape(string(der)), false},
		{"nothing in it", "pem", url.PathEscape("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), false},

		{"a hash", "xfcc", "Hash=" + hash, true},
		{"a certificate", "xfcc", `Cert="` + escaped + `"`, true},
		{"a certificate without quotes", "xfcc", "Cert=" + strings.ReplaceAll(escaped, "=", "%3D"), true},
		{"all that Envoy writes", "xfcc", `By=spiffe://a/b;Hash=` + hash + `;Cert="` + escaped + `";Chain="` + escaped + `";Subject="CN=me, \"O\";x";URI=spiffe://c;DNS=a;DNS=b`, true},
		{"names in other case", "xfcc", "by=a;hash=" + strings.ToUpper(hash), true},
		{"a semicolon at the end", "xfcc", "Hash=" + hash + ";", true},
		{"neither", "xfcc", "By=a;Subject=\"CN=me\"", false},
		{"of different certificates", "xfcc", `Hash=` + hash + `;Cert="` + escapedPEM(other) + `"`, false},
		{"two hashes", "xfcc", "Hash=" + hash + ";Hash=" + hash, false},
		{"two elements", "xfcc", "Hash=" + hash + ",Hash=" + hash, false},
		{"two elements, the first quoted", "xfcc", `Cert="` + escaped + `",Hash=` + hash, false},
		{"a hash hidden in a subject", "xfcc", `Subject="x;Hash=` + hash + `"`, false},
		{"a hash behind an escaped quote", "xfcc", `Subject="x\";Hash=` + hash + `;y="`, false},
		{"a hash too short", "xfcc", "Hash=" + hash[:62], false},
		{"a hash that is none", "xfcc", "Hash=" + strings.Repeat("x", 64), false},
		{"no value", "xfcc", "Hash", false},
		{"no name", "xfcc", "=x;Hash=" + hash, false},
		{"a quote that is open", "xfcc", `Hash=` + hash + `;Subject="x`, false},
		{"text behind a quote", "xfcc", `Subject="x"y;Hash=` + hash, false},
		{"an empty pair", "xfcc", "Hash=" + hash + ";;", false},

		{"an unknown format", "der", std, false},
	} {
		t.Run(tt.format+" "+tt.name, func(t *testing.T) {
			got, err := ParseCertificate(tt.format, []string{tt.value})
			if good := err == nil && bytes.Equal(got, sum[:]); good != tt.good || good != (err == nil) {
				t.Errorf("got %x, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), std[:20]) {
				t.Errorf("the certificate is quoted: %v", err)
			}
		})
	}
	for _, format := range CertificateFormats {
		absent := [][]string{nil, {}, {""}}
		if format == "rfc9440" {
			absent = append(absent, []string{"::"})
		}
		for _, values := range absent {
			if got, err := ParseCertificate(format, values); got != nil || err != nil {
				t.Errorf("%s, %q: %x, %v", format, values, got, err)
			}
		}
		for _, values := range [][]string{{"a", "b"}, {"", ""}, {strings.Repeat("a", MaxCertificateHeader+1)}} {
			if got, err := ParseCertificate(format, values); got != nil || err == nil {
				t.Errorf("%s, %d values: %x", format, len(values), got)
			}
		}
	}
	if want := []string{"pem", "rfc9440", "xfcc"}; !slices.Equal(CertificateFormats, want) {
		t.Errorf("formats: %q", CertificateFormats)
	}
}

// The client's certificate of RFC 9440, appendix A, as its Client-Cert carries it. The
// hash is what OpenSSL says.
func TestRFC9440(t *testing.T) {
	const field = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBB" +
		"dXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAx" +
		"MTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZI" +
		"zj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p" +
		"5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIw" +
		"ADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMC" +
		"BsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1w" +
		"bGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMje" +
		"SkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"
	const hash = "bfaf1f7e070f9fa8dd62905f158da73f84a1136624fbafcc9393c8f7287a69eb"
	got, err := ParseCertificate("rfc9440", []string{field})
	if err != nil || hex.EncodeToString(got) != hash {
		t.Errorf("got %x, %v", got, err)
	}
}

// The hash of a certificate by OpenSSL is what OpenSSL says:
//
//	openssl x509 -in openssl.pem -outform der | openssl dgst -sha256 -binary | basenc --base64url
func TestCertificateByOpenSSL(t *testing.T) {
	const x5t = "roC-PAUCqYfhFQv8iN3DSpYDtcpzqnoTFQVsKLXOXAo"
	text, err := os.ReadFile("testdata/openssl.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	sum, err := hex.DecodeString("AE80BE3C0502A987E1150BFC88DDC34A9603B5CA73AA7A1315056C28B5CE5C0A") // -fingerprint
	if err != nil {
		t.Fatal(err)
	}
	for format, value := range map[string]string{
		"rfc9440": ":" + base64.StdEncoding.EncodeToString(block.Bytes) + ":",
		"pem":     url.PathEscape(string(text)),
		"xfcc":    fmt.Sprintf(`Hash=%x;Cert="%s"`, sum, url.QueryEscape(string(text))),
	} {
		if format == "xfcc" {
			value = strings.ReplaceAll(value, "+", "%20")
		}
		got, err := ParseCertificate(format, []string{value})
		if err != nil {
			t.Fatal(err)
		}
		q := &Request{Token: theToken, Bound: Confirmation{Certificate: x5t}, Certificate: got}
		refuses(t, newChecker(t), q, nil)
	}
}

// FuzzCertificate: each format gives a hash, an error or nothing, and never both.
func FuzzCertificate(f *testing.F) {
	der := certificateOf(f, "me")
	escaped := escapedPEM(der)
	for _, seed := range []string{":" + base64.StdEncoding.EncodeToString(der) + ":", escaped, `By=a;Hash=00;Cert="` + escaped + `";Subject="\""`, "Hash=a,Hash=b", "", "::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, format := range CertificateFormats {
			sum, err := ParseCertificate(format, []string{value})
			absent := value == "" || format == "rfc9440" && value == "::"
			if (sum == nil) != (err != nil || absent) || sum != nil && len(sum) != sha256.Size {
				t.Fatalf("%s: %x, %v", format, sum, err)
			}
			if format != "rfc9440" || err != nil || sum == nil {
				continue
			}
			inner, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.Trim(value, ":"), "="))
			if again := sha256.Sum256(inner); err != nil || !bytes.Equal(sum, again[:]) {
				t.Fatalf("%q: %x, %v", value, sum, err)
			}
		}
	})
}
