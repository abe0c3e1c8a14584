// Package keyfile reads and writes the private keys that licenses are signed
// with.
//
// [Load] reads a file: PEM (PKCS #8, PKCS #1 or SEC 1), or any of these encrypted
// with a passphrase by age (https://age-encryption.org). A file that others may
// read is refused. [Parse] reads the same from memory, and what environment
// variables carry: base64 of PEM, alone or behind an organization's id and a
// comma. [Generate] makes a key, and [Create] or [CreateEncrypted] writes it beside
// its public half without ever overwriting.
//
// The keys are [crypto.Signer] values; no error of this package holds any part
// of a key or of a passphrase. What never lives here: signing, and the public
// keys that are trusted.
package keyfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// Kind is a kind of key, as the keygen command spells it.
type Kind string

// The kinds there are. Hoop's own tools verify licenses of RSA keys only.
const (
	Ed25519 Kind = "ed25519" // RFC 8032
	RSA     Kind = "rsa"     // 3072 bits, RFC 8017
	ECDSA   Kind = "ecdsa"   // on P-256, FIPS 186-5
)

// rsaBits gives the strength of 128 bits that the other kinds have (NIST SP
// 800-57, part 1, table 2).
const rsaBits = 3072

// Generate makes a new key of a kind; the empty kind is Ed25519.
func Generate(kind Kind) (crypto.Signer, error) {
	switch kind {
	case Ed25519, "":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("a key of type %.20q is not made here; want %s, %s or %s", kind, Ed25519, RSA, ECDSA)
}

// Create writes a key to a new file as PEM (PKCS #8) with mode 0600, and its
// public half to the file of that name with ".pub" behind it. It never
// overwrites: if either file is there, nothing is written and the error is
// [fs.ErrExist].
func Create(path string, key crypto.Signer) error {
	return create(path, key, func(private []byte) ([]byte, error) { return private, nil })
}

// CreateEncrypted is [Create] with the private key encrypted by a passphrase, as an
// armored file of age.
func CreateEncrypted(path string, key crypto.Signer, passphrase string) error {
	return create(path, key, func(private []byte) ([]byte, error) { return encrypt(private, passphrase) })
}

func create(path string, key crypto.Signer, protect func([]byte) ([]byte, error)) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("writing the private key: %w", err)
	}
	private, err := protect(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		return fmt.Errorf("encrypting the private key: %w", err)
	}
	public, err := license.EncodePublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("writing the public key: %w", err)
	}
	if err := writeNew(path, 0o600, private); err != nil {
		return fmt.Errorf("writing the private key: %w", err)
	}
	if err := writeNew(path+".pub", 0o644, public); err != nil {
		return errors.Join(fmt.Errorf("writing the public key: %w", err), os.Remove(path))
	}
	return nil
}

// writeNew writes a file that was not there, and leaves none if it fails.
func writeNew(path string, mode fs.FileMode, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // The path is the operator's own.
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// access is who may use a file beside its owner.
type access struct {
	mode          os.FileMode
	owner         int
	users, groups []int // whom the group's part of the mode is for
}

// CheckPrivate says why an opened file is no place for a secret. Nobody but its
// owner may read or write it (mode 0600 or less). Where the owner is root, the
// process's own user, or a group that the process is in, may read it besides:
// Kubernetes (fsGroup) and systemd (LoadCredential) hand secrets out so, and
// leave nothing to change. On Windows, where modes say nothing, all is well.
func CheckPrivate(file *os.File) error {
	if !modesCount {
		return nil
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	found, err := accessOf(file, info)
	if err != nil {
		return fmt.Errorf("finding out who may use %s: %w", file.Name(), err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("finding out this process's groups: %w", err)
	}
	if found.isPrivate(os.Geteuid(), append(groups, os.Getegid())) {
		return nil
	}
	return fmt.Errorf("%s has the mode %04o, so others may use it; want 0600, by chmod 600 %[1]s, or 0440 of root and a group of this process", file.Name(), found.mode.Perm())
}

// isPrivate reports whether only the owner, root and this process may use a file.
func (a access) isPrivate(user int, groups []int) bool {
	ours := func(id int) bool { return id == 0 || id == user }
	mine := func(id int) bool { return slices.Contains(groups, id) }
	others, group := a.mode.Perm()&0o007, a.mode.Perm()&0o070
	switch {
	case others != 0 || group&^0o040 != 0:
		return false
	case group == 0:
		return true
	}
	return a.owner == 0 && !slices.ContainsFunc(a.users, func(id int) bool { return !ours(id) }) &&
		!slices.ContainsFunc(a.groups, func(id int) bool { return !mine(id) })
}
