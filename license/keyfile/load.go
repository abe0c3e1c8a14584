package keyfile

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
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

func isPublic(data []byte) bool {
	return bytes.Contains(data, []byte("PUBLIC KEY-----")) && !bytes.Contains(data, []byte("PRIVATE KEY-----"))
}

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
	case isPublic(data): // which everybody may read
		return nil, fmt.Errorf("%s holds %w", path, errPublic)
	case private != nil:
		return nil, private
	}
	if len(data) == 0 {
		return nil, errors.New(path + " is empty")
	}
	return data, nil
}
