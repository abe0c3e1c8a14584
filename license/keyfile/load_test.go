package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestLoad(t *testing.T) {
	key := generate(t, Ed25519)
	text := block(t, "PRIVATE KEY", key)
	for name, path := range map[string]string{
		"PEM":          write(t, text, 0o600),
		"read only":    write(t, text, 0o400),
		"base64":       write(t, encoded(text), 0o600),
		"age":          write(t, encryptQuickly(t, text, passphrase, false, 10), 0o600),
		"organization": write(t, append([]byte("org,"), encoded(text)...), 0o600),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Load(path, passphrase)
			if err != nil {
				t.Fatal(err)
			}
			sameKey(t, got, key)
		})
	}
}

func TestLoadRefusesWhatOthersMayUse(t *testing.T) {
	text := block(t, "PRIVATE KEY", generate(t, Ed25519))
	for _, mode := range []os.FileMode{0o604, 0o644, 0o620, 0o602, 0o610, 0o666, 0o777} {
		path := write(t, text, mode)
		key, err := Load(path, "")
		if runtime.GOOS == "windows" {
			if err != nil {
				t.Errorf("mode %04o on Windows: %v", mode, err)
			}
			continue
		}
		if key != nil {
			t.Errorf("mode %04o: a key", mode)
		}
		wantError(t, err, "chmod 600 "+path, text)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nothing"), link); err != nil && runtime.GOOS != "windows" {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, want string
		is         error
	}{
		"not there":     {filepath.Join(dir, "none"), "reading the private key", fs.ErrNotExist},
		"broken link":   {link, "reading the private key", fs.ErrNotExist},
		"a folder":      {dir, "no regular file", nil},
		"a device":      {os.DevNull, "no regular file", nil},
		"empty":         {write(t, nil, 0o600), "is empty", nil},
		"too long":      {write(t, bytes.Repeat([]byte("a"), MaxSize+1), 0o600), "at most 65536", nil},
		"no key":        {write(t, []byte("words here"), 0o600), "vendor.key", nil},
		"no passphrase": {write(t, encryptQuickly(t, []byte("x"), passphrase, false, 10), 0o600), "want its passphrase", ErrPassphrase},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := Load(c.path, "")
			wantError(t, err, c.want)
			if key != nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%T, %v; want %v", key, err, c.is)
			}
		})
	}
}

const passphrase = "correct horse battery staple"

func TestParse(t *testing.T) {
	ed, rsaKey, ec := generate(t, Ed25519), generate(t, RSA), generate(t, ECDSA)
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	sec1 := block(t, "EC PRIVATE KEY", ec)
	pkcs8 := block(t, "PRIVATE KEY", ed)
	pkcs1 := block(t, "RSA PRIVATE KEY", rsaKey)
	for name, c := range map[string]struct {
		data []byte
		kind Kind
	}{
		"PKCS #8, Ed25519":       {pkcs8, Ed25519},
		"PKCS #8, RSA":           {block(t, "PRIVATE KEY", rsaKey), RSA},
		"PKCS #8, ECDSA":         {block(t, "PRIVATE KEY", ec), ECDSA},
		"PKCS #1":                {pkcs1, RSA},
		"SEC 1":                  {sec1, ECDSA},
		"SEC 1 with parameters":  {append(parameters, sec1...), ECDSA},
		"words before":           {append([]byte("Bag Attributes\n"), pkcs8...), Ed25519},
		"Windows line ends":      {bytes.ReplaceAll(pkcs8, []byte("\n"), []byte("\r\n")), Ed25519},
		"base64 of PEM":          {encoded(pkcs8), Ed25519},
		"base64 with a line end": {append(encoded(pkcs1), '\n'), RSA},
		"organization":           {append([]byte("6b0e3c0e-8b0e-4a5e,"), encoded(pkcs1)...), RSA},
		"age":                    {encryptQuickly(t, pkcs8, passphrase, false, 10), Ed25519},
		"armored age":            {encryptQuickly(t, sec1, passphrase, true, 10), ECDSA},
		"armored age, indented":  {append([]byte("\n \n"), encryptQuickly(t, sec1, passphrase, true, 10)...), ECDSA},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.data, passphrase+"\n")
			if err != nil {
				t.Fatal(err)
			}
			sameKey(t, got, map[Kind]crypto.Signer{Ed25519: ed, RSA: rsaKey, ECDSA: ec}[c.kind])
		})
	}
}

func TestParseRefuses(t *testing.T) {
	ed, rsaKey := generate(t, Ed25519), generate(t, RSA)
	pkcs8 := block(t, "PRIVATE KEY", ed)
	der, _ := pem.Decode(pkcs8)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519DER, err := x509.MarshalPKCS8PrivateKey(x25519)
	if err != nil {
		t.Fatal(err)
	}
	as := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                {nil, "it is empty"},
		"white space":            {[]byte(" \n"), "it is empty"},
		"words":                  {[]byte("no key at all"), "neither PEM nor base64"},
		"base64 of words":        {encoded([]byte("no key at all")), "no PEM block"},
		"base64 of DER":          {encoded(der.Bytes), "no PEM block"},
		"URL-safe base64":        {[]byte("6b0e,--__"), "neither PEM nor base64"},
		"no organization":        {append([]byte(","), encoded(pkcs8)...), "nothing before the comma"},
		"organization alone":     {[]byte("6b0e,"), "no PEM block"},
		"two commas":             {append([]byte("6b0e,x,"), encoded(pkcs8)...), "neither PEM nor base64"},
		"PEM cut":                {pkcs8[:len(pkcs8)/2], "no PEM block"},
		"two keys":               {append(bytes.Clone(pkcs8), block(t, "RSA PRIVATE KEY", rsaKey)...), "more than one"},
		"public key":             {as("PUBLIC KEY", []byte{1}), "public key; want the private"},
		"OpenSSH":                {as("OPENSSH PRIVATE KEY", der.Bytes), "another type"},
		"encrypted PKCS #8":      {as("ENCRYPTED PRIVATE KEY", der.Bytes), "encrypted PEM is not read"},
		"damaged PKCS #8":        {as("PRIVATE KEY", der.Bytes[:20]), "damaged"},
		"PKCS #8 as PKCS #1":     {as("RSA PRIVATE KEY", der.Bytes), "do not agree"},
		"PKCS #8 as SEC 1":       {as("EC PRIVATE KEY", der.Bytes), "do not agree"},
		"parameters alone":       {as("EC PARAMETERS", []byte{1}), "no PEM block"},
		"X25519":                 {as("PRIVATE KEY", x25519DER), "cannot sign"},
		"too long":               {bytes.Repeat([]byte("a"), MaxSize+1), "at most 65536"},
		"age of something else":  {encryptQuickly(t, []byte("no key"), passphrase, false, 10), "no PEM block"},
		"age in age":             {encryptQuickly(t, encryptQuickly(t, pkcs8, passphrase, false, 10), passphrase, false, 10), "no PEM block"},
		"another age passphrase": {encryptQuickly(t, pkcs8, "another", true, 10), "incorrect passphrase"},
		"damaged age":            {encryptQuickly(t, pkcs8, passphrase, false, 10)[:150], "opening the age file"},
		"age cut at its end":     {cutEnd(encryptQuickly(t, pkcs8, passphrase, false, 10)), "age file"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := Parse(c.data, passphrase)
			if key != nil {
				t.Errorf("a key of type %T", key)
			}
			wantError(t, err, c.want, c.data, pkcs8, []byte(passphrase))
		})
	}
}

func cutEnd(data []byte) []byte { return data[:len(data)-1] }

// The old encryption of PEM itself is known by its header.
func TestParseEncryptedPKCS1(t *testing.T) {
	old := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}})
	_, err := Parse(old, "")
	wantError(t, err, "encrypted PEM is not read")
}

func TestPassphrase(t *testing.T) {
	key := generate(t, Ed25519)
	file := encryptQuickly(t, block(t, "PRIVATE KEY", key), passphrase, true, 10)
	for _, empty := range []string{"", "\n", "\r\n"} {
		if _, err := Parse(file, empty); !errors.Is(err, ErrPassphrase) {
			t.Errorf("passphrase %q: %v, want ErrPassphrase", empty, err)
		}
	}
	for _, right := range []string{passphrase, passphrase + "\n", passphrase + "\r\n"} {
		got, err := Parse(file, right)
		if err != nil {
			t.Fatal(err)
		}
		sameKey(t, got, key)
	}
	_, err := Parse(file, " "+passphrase)
	wantError(t, err, "incorrect passphrase", []byte(passphrase))
}

// A file may not make its reader spend memory and time at will. The work factor
// stands in the header, and is refused before any work is done.
func TestWorkFactorIsBounded(t *testing.T) {
	file := encryptQuickly(t, []byte("x"), passphrase, false, 10)
	for _, logN := range []int{maxWorkFactor + 1, 30, 63} {
		greater := bytes.Replace(file, []byte(" 10\n"), fmt.Appendf(nil, " %d\n", logN), 1)
		if bytes.Equal(greater, file) {
			t.Fatal("the work factor does not stand where it was looked for")
		}
		_, err := Parse(greater, passphrase)
		wantError(t, err, "work factor")
	}
}
