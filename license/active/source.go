package active

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// Source says where the license comes from. Sources are equal (==) if they are
// the same place or text. The zero Source is storage.
type Source struct {
	kind  kind
	value string
}

type kind uint8

const (
	installed kind = iota
	file
	inline
)

// Installed is the license that [Keeper.Install] put into storage: the zero
// Source.
func Installed() Source { return Source{} }

// File is a file of at most [license.MaxSize] bytes. A change of its content,
// its replacement and a change of a symbolic link on its path are seen within
// five seconds.
func File(path string) Source { return Source{file, path} }

// Inline is the license's own text; empty text is no license.
func Inline(text string) Source { return Source{inline, text} }

// String names the source for logs: the file's path, but never a license's text.
func (s Source) String() string {
	switch s.kind {
	case file:
		return "file " + s.value
	case inline:
		return "configuration"
	}
	return "storage " + installedKey
}

// Configured reports whether the configuration holds the license or its path, so
// that none can be installed.
func (s Source) Configured() bool { return s.kind != installed }

// absent says for people why there is no license. Clients may read it, so it
// names no path.
func (s Source) absent() string {
	switch s.kind {
	case file:
		return "the configured file does not exist"
	case inline:
		return "the configured text is empty"
	}
	return "none is installed"
}

const (
	// fileLook is the time between two looks at a file.
	fileLook = 2 * time.Second
	// secondLook is the time to the look that confirms bad news.
	secondLook = 500 * time.Millisecond
)

// watchFile looks at the file. It is read each time, because a file can change
// and keep its time and size; of a license's size that costs no more than asking
// for the time of change.
func (k *Keeper) watchFile() time.Duration {
	data, err := storage.Do(k.ctx, k.files, func(context.Context) ([]byte, error) { return readFile(k.source.value) })
	if k.ctx.Err() != nil || k.look(data, err, 0) {
		return fileLook
	}
	return secondLook
}

// readFile reads a license file. It must be a regular one: opening a pipe would
// wait for its other end.
func readFile(path string) ([]byte, error) {
	if err := checkFile(os.Stat(path)); err != nil {
		return nil, err
	}
	f, err := os.Open(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, license.MaxSize+1))
	if err != nil {
		return nil, err
	}
	return data, nil
}

func checkFile(info os.FileInfo, err error) error {
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case info.Size() > license.MaxSize:
		return fmt.Errorf("it has %d bytes; want at most %d", info.Size(), license.MaxSize)
	}
	return nil
}
