package keyfile

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// Load reads a private key from a file of any form that [Parse] knows. The file
// must be a regular one that only its owner may read or write (mode 0600 or
// less), encrypted or not; on Windows, where modes say nothing, that is not
// asked.
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
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := checkMode(path, info.Mode()); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, errors.New(path + " is empty")
	}
	return data, nil
}

func checkMode(path string, mode fs.FileMode) error {
	if runtime.GOOS == "windows" || mode.Perm()&0o077 == 0 {
		return nil
	}
	return fmt.Errorf("%s has the mode %04o, so others may use it; want 0600, by chmod 600 %s", path, mode.Perm(), path)
}
