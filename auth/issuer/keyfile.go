package issuer

import "fmt"

// fileState tells whether the key set file is still the one that was read.
type fileState struct {
	good  stamp // of the content that serves
	tried stamp // of the last content read, good or not
}

// readKeys reads the key set from its file. With an error it still tells which
// state of the file it met.
func (e *Engine) readKeys() (*fetched, error) {
	data, seen, err := readSmall(e.cfg.JWKSFile, maxBodyBytes)
	if err != nil {
		return &fetched{stamp: seen}, fmt.Errorf("reading jwks_file: %w", err)
	}
	got, err := usable(data)
	if err != nil {
		return &fetched{stamp: seen}, fmt.Errorf("jwks_file %s: %w", e.cfg.JWKSFile, err)
	}
	got.stamp = seen
	return got, nil
}

// fileSettled reports whether there is no need to read the file. An unchanged
// good file is as good as a fresh fetch.
func (e *Engine) fileSettled() bool {
	seen, err := statFile(e.cfg.JWKSFile)
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.now()
	switch {
	case !at.Before(e.keys.next):
		return false
	case err != nil:
		return e.keys.failure != nil // known already: the back-off decides
	case e.keys.failure == nil && seen.same(e.file.good):
		e.confirm(at)
		return true
	}
	return seen.same(e.file.tried)
}
