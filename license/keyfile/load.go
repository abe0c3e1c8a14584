package keyfile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
)

// Load reads a private key from a file of any form that [Parse] knows. The file
// must pass [CheckPrivate], encrypted or not.
func Load(path, passphrase string) (crypto.Signer, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	key, err := parse(data, passphrase)
	if err != nil {
		return nil, fmt.Errorf("reading the private key of %s: %w", path, err)
	}
	return key, nil
}

// errPublic says that the halves of a key pair were mixed up.
var errPublic = errors.New("a public key; want the private one, whose file keygen names without .pub")

func read(path string) ([]byte, error) {
	// Asked before opening: to open a pipe may wait forever.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	file, err := os.Open(path) //nolint:gosec // The path is the operator's own.
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // Only read.
	// Asked again of what was opened: the name may stand for another file now.
	private := CheckPrivate(file)
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	switch {
	case err != nil:
		return nil, err
	case bytes.Contains(data, []byte("PUBLIC KEY-----")) && !bytes.Contains(data, []byte("PRIVATE KEY-----")): // which everybody may read
		return nil, fmt.Errorf("%s holds %w", path, errPublic)
	case private != nil:
		return nil, private
	}
	if len(data) == 0 {
		return nil, errors.New(path + " is empty")
	}
	return data, nil
}

// MaxSize is the greatest size of a private key, encoded in whatever way, in
// bytes.
const MaxSize = 64 << 10

// Parse reads a private key from memory, in any of these forms:
//
//   - PEM (RFC 7468): PRIVATE KEY (PKCS #8, RFC 5958), RSA PRIVATE KEY (PKCS #1,
//     RFC 8017) or EC PRIVATE KEY (SEC 1, RFC 5915)
//   - an age file, armored or not, that holds PEM; passphrase opens it, without
//     the line end that a file of it may have
//   - base64 (RFC 4648, section 4) of PEM
//   - an organization's id, a comma, and base64 of PEM, as in LICENSE_SIGNING_KEY;
//     the id is not kept
//
// The passphrase is not looked at unless it is needed. The key is an
// *rsa.PrivateKey, an ed25519.PrivateKey or an *ecdsa.PrivateKey; whether
// licenses can be signed with it is decided by license.NewSigner.
func Parse(data []byte, passphrase string) (crypto.Signer, error) {
	key, err := parse(data, passphrase)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	return key, nil
}

func parse(data []byte, passphrase string) (crypto.Signer, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes; want at most %d", len(data), MaxSize)
	}
	data, err := bom.Skip(data)
	switch {
	case err != nil:
		return nil, err
	case isArmored(data) || bytes.HasPrefix(data, []byte(ageHeader)):
		plain, err := decrypt(data, passphrase)
		if err != nil {
			return nil, err
		}
		return parsePEM(plain)
	case strings.Contains(string(data), "-----BEGIN "):
		return parsePEM(data)
	}
	plain, err := decodeValue(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, err
	}
	return parsePEM(plain)
}

// decodeValue reads what an environment variable holds: base64, behind an
// organization's id and a comma or alone.
func decodeValue(value string) ([]byte, error) {
	if value == "" {
		return nil, errors.New("it is empty; want PEM, base64 of PEM, or an age file")
	}
	org, encoded, found := strings.Cut(value, ",")
	switch {
	case !found:
		encoded = value
	case strings.TrimSpace(org) == "":
		return nil, errors.New("nothing before the comma; want an organization's id, a comma and base64 of PEM")
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		// The decoder's error gives only a position, but even that is not needed
		// to see what is wrong.
		return nil, errors.New("neither PEM nor base64; want PEM, base64 of PEM, an organization's id, a comma and base64 of PEM, or an age file")
	}
	return plain, nil
}

// parsePEM reads the one private key of a PEM text. The parameters that openssl
// writes before an EC key are passed over.
func parsePEM(data []byte) (crypto.Signer, error) {
	var found crypto.Signer
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PARAMETERS" {
			continue
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return nil, errors.New("more than one private key; want a single one")
		}
		found = key
	}
	if found == nil {
		return nil, errors.New("no PEM block found; want -----BEGIN PRIVATE KEY-----")
	}
	return found, nil
}

func parseBlock(block *pem.Block) (crypto.Signer, error) {
	encrypted := block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != ""
	switch {
	case encrypted:
		return nil, errors.New("encrypted PEM is not read; want it decrypted, or encrypted with age and a passphrase")
	case block.Type == "PRIVATE KEY":
		return parsePKCS8(block.Bytes)
	case block.Type == "RSA PRIVATE KEY":
		return checked(x509.ParsePKCS1PrivateKey(block.Bytes))
	case block.Type == "EC PRIVATE KEY":
		return checked(x509.ParseECPrivateKey(block.Bytes))
	case block.Type == "PUBLIC KEY", block.Type == "RSA PUBLIC KEY":
		return nil, errPublic
	}
	return nil, errors.New("a PEM block of another type; want PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY")
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("a damaged PKCS #8 key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign; want RSA, Ed25519 or ECDSA", key)
	}
	return signer, nil
}

// checked drops the parser's error, which may speak of the key's inside.
func checked[K crypto.Signer](key K, err error) (crypto.Signer, error) {
	if err != nil {
		return nil, errors.New("a damaged key: its PEM type and its content do not agree, or it was cut")
	}
	return key, nil
}

// ErrPassphrase says that an age file cannot be opened without a passphrase.
var ErrPassphrase = errors.New("the key is an age file; want its passphrase")

const ageHeader = "age-encryption.org/"

// maxWorkFactor bounds the memory and time that opening a file may take: scrypt
// with N = 2^20 takes 1 GiB. The age command writes 2^18.
const maxWorkFactor = 20

func isArmored(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header))
}

// encrypt makes an armored age file that a passphrase opens.
func encrypt(plain []byte, passphrase string) ([]byte, error) {
	passphrase = strings.TrimRight(passphrase, "\r\n")
	if passphrase == "" {
		return nil, errors.New("the passphrase is empty")
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	out := armor.NewWriter(&file)
	w, err := age.Encrypt(out, recipient)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		return nil, err
	}
	return file.Bytes(), nil
}

// decrypt opens an age file with a passphrase.
func decrypt(data []byte, passphrase string) ([]byte, error) {
	passphrase = strings.TrimRight(passphrase, "\r\n")
	if passphrase == "" {
		return nil, ErrPassphrase
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("taking the passphrase: %w", err)
	}
	identity.SetMaxWorkFactor(maxWorkFactor)
	var file io.Reader = bytes.NewReader(data)
	if isArmored(data) {
		file = armor.NewReader(file)
	}
	plain, err := age.Decrypt(file, identity)
	if err != nil {
		return nil, fmt.Errorf("opening the age file with the passphrase: %w", err)
	}
	key, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("reading the age file: %w", err)
	}
	return key, nil
}
