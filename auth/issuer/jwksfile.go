package issuer

import (
	"fmt"
	"io"
	"os"
	"time"
)

const fileLook = 5 * time.Second // between two looks at a key set file

// readJWKSFile reads the key set from the configured file. With an error it still
// tells which state of the file it met.
func (e *Engine) readJWKSFile(f *fetch) error {
	data, info, err := readSmall(e.cfg.JWKSFile, maxBodyBytes)
	f.file = info
	if err != nil {
		return fmt.Errorf("reading jwks_file: %w", err)
	}
	if f.jwks, f.warnings, err = e.cfg.parseUsable(data); err != nil {
		return fmt.Errorf("jwks_file %s: %w", e.cfg.JWKSFile, err)
	}
	return nil
}

// fileUnchanged reports whether there is no need to read the file. An unchanged
// good file is as good as a fetch.
func (e *Engine) fileUnchanged() bool {
	info, err := statFile(e.cfg.JWKSFile)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err != nil:
		return e.keys.failure != nil // known already: the back-off decides
	case e.keys.failure == nil && sameFile(info, e.file.good):
		e.confirm(e.now())
		return true
	}
	return sameFile(info, e.file.tried)
}

// sameFile reports whether both are the same file, unchanged; nil is like no other.
func sameFile(a, b os.FileInfo) bool {
	return a != nil && b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// statFile looks at a file that must be a regular one: opening a pipe would
// wait for its other end.
func statFile(path string) (os.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return info, nil
}

// readSmall reads a file of at most limit bytes. Its information is from before the
// reading, so that a change during it is seen the next time.
func readSmall(path string, limit int64) ([]byte, os.FileInfo, error) {
	before, err := statFile(path)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, before, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, before, err
	}
	if int64(len(data)) > limit {
		return nil, before, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, before, nil
}
