package bound

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// MaxCertificateHeader is the longest header that a certificate is read from, in
// bytes.
const MaxCertificateHeader = 32 << 10

// CertificateFormats lists how proxies hand on the certificate of their client, as
// [ParseCertificate] knows them.
var CertificateFormats = slices.Sorted(maps.Keys(certificateFormats))

var certificateFormats = map[string]func(string) ([]byte, error){
	"rfc9440": parseRFC9440,
	"xfcc":    parseXFCC,
	"pem":     parseEscapedPEM,
}

// ParseCertificate gives the SHA-256 of the client's certificate from the values of
// a header, nil if it is not there. The header must come from a proxy that is
// trusted to have verified that the client holds the certificate's key, and from
// nobody else.
//
// Formats: rfc9440 is a byte sequence between colons (RFC 9440, header
// Client-Cert); pem is one certificate in PEM, percent-encoded, as nginx writes
// $ssl_client_escaped_cert; xfcc is Envoy's X-Forwarded-Client-Cert with one
// element that has Hash, Cert or both.
func ParseCertificate(format string, values []string) ([]byte, error) {
	parse := certificateFormats[format]
	switch {
	case parse == nil:
		return nil, fmt.Errorf("unknown format %q: expected one of %s", format, strings.Join(CertificateFormats, ", "))
	case len(values) == 0, len(values) == 1 && (values[0] == "" || format == "rfc9440" && values[0] == "::"):
		return nil, nil // the second is what proxies make of a template around nothing
	case len(values) > 1:
		return nil, errors.New("the header stands there several times")
	case len(values[0]) > MaxCertificateHeader:
		return nil, fmt.Errorf("the header has %d bytes: at most %d", len(values[0]), MaxCertificateHeader)
	}
	return parse(values[0])
}

func parseRFC9440(value string) ([]byte, error) {
	inner, ok1 := strings.CutPrefix(value, ":")
	inner, ok2 := strings.CutSuffix(inner, ":")
	if !ok1 || !ok2 {
		return nil, errors.New("not one byte sequence between colons")
	}
	encoding := base64.StdEncoding
	if !strings.HasSuffix(inner, "=") { // which may be left out (RFC 9651, section 4.2.7)
		encoding = base64.RawStdEncoding
	}
	if strings.ContainsAny(inner, "\r\n") {
		return nil, errors.New("not base64 between the colons")
	}
	der, err := encoding.Strict().DecodeString(inner)
	if err != nil || len(der) == 0 {
		return nil, errors.New("not base64 between the colons")
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}

var errPEM = errors.New("not one certificate in PEM, percent-encoded")

func parseEscapedPEM(value string) ([]byte, error) {
	text, err := url.PathUnescape(value) // which leaves a plus as it is
	if err != nil || !strings.HasPrefix(text, "-----BEGIN CERTIFICATE-----") {
		return nil, errPEM
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || len(block.Bytes) == 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errPEM
	}
	sum := sha256.Sum256(block.Bytes)
	return sum[:], nil
}

// parseXFCC takes one element: with several it depends on every proxy in between
// which of them is the client's.
func parseXFCC(value string) ([]byte, error) {
	found := map[string][]byte{}
	for rest, more := value, true; more; {
		var name, text string
		var err error
		if name, text, rest, more, err = cutPair(rest); err != nil {
			return nil, err
		}
		name = strings.ToLower(name)
		if name != "hash" && name != "cert" {
			continue
		}
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("the element has several values of %s", name)
		}
		if name == "cert" {
			found[name], err = parseEscapedPEM(text)
		} else if found[name], err = hex.DecodeString(text); err == nil && len(found[name]) != sha256.Size {
			err = errors.New("the value of hash is no SHA-256")
		}
		if err != nil {
			return nil, err
		}
	}
	hash, cert := found["hash"], found["cert"]
	switch {
	case hash == nil && cert == nil:
		return nil, errors.New("the element has neither Hash nor Cert")
	case hash == nil:
		return cert, nil
	case cert != nil && !bytes.Equal(hash, cert):
		return nil, errors.New("the values of Hash and Cert are of different certificates")
	}
	return hash, nil
}

// cutPair takes the first of the pairs of an element, name=value or name="value",
// which semicolons separate; in quotes, a backslash stands before a quote.
func cutPair(text string) (name, value, rest string, more bool, err error) {
	name, rest, found := strings.Cut(text, "=")
	if !found || name == "" || strings.ContainsAny(name, `;,"`) {
		return "", "", "", false, errors.New("not pairs of a name and a value")
	}
	if strings.HasPrefix(rest, `"`) {
		if value, rest, found = cutQuoted(rest[1:]); !found {
			return "", "", "", false, errors.New("a quote is not closed")
		}
	} else if i := strings.IndexAny(rest, ";,"); i >= 0 {
		value, rest = rest[:i], rest[i:]
	} else {
		value, rest = rest, ""
	}
	switch {
	case rest == "":
		return name, value, "", false, nil
	case rest[0] == ',':
		return "", "", "", false, errors.New("the header has several elements: the proxy must replace what its clients send")
	case rest[0] != ';':
		return "", "", "", false, errors.New("something follows a quoted value")
	case rest == ";":
		return name, value, "", false, nil
	}
	return name, value, rest[1:], true, nil
}

func cutQuoted(text string) (value, rest string, found bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
