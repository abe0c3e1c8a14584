package issuer

import (
	"fmt"
	"io"
	"os"
	"time"
)

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

// stamp tells one state of a file from another without reading it.
type stamp struct {
	info     os.FileInfo
	modified time.Time
	size     int64
}

func stampOf(info os.FileInfo) stamp {
	return stamp{info: info, modified: info.ModTime(), size: info.Size()}
}

// same reports whether both are the same file, unchanged. The zero stamp is
// like no other.
func (s stamp) same(o stamp) bool {
	return s.info != nil && o.info != nil && s.size == o.size &&
		s.modified.Equal(o.modified) && os.SameFile(s.info, o.info)
}

// statFile looks at a file that must be a regular one: opening a pipe would
// wait for its other end.
func statFile(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, fmt.Errorf("%s is not a regular file", path)
	}
	return stampOf(info), nil
}

// readSmall reads a file of at most limit bytes. The stamp is from before the
// reading, so that a change during it is seen the next time.
func readSmall(path string, limit int64) ([]byte, stamp, error) {
	before, err := statFile(path)
	if err != nil {
		return nil, stamp{}, err
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
