package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// Source says where the license comes from. Sources are equal (==) if they are
// the same place or text. The zero Source is storage.
type Source struct {
	kind  uint8
	value string
}

// The kinds of sources.
const (
	installed uint8 = iota
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

// search is what is known of the source.
type search struct {
	ended   bool   // the first look
	seen    []byte // the text of the newest genuine license that was found
	fault   string // what is wrong with the source, as it was reported
	cause   error  // of the fault
	absent  bool   // the fault is that there is none
	bad     []byte // the text that is at fault, not to be verified again; nil: another fault
	doubted bool   // the last look was the first to find a fault
	writes  uint64 // licenses that were installed here
}

// look deals with what a look at the source found, which began after so many
// writes; one that was overtaken by a write is out of date. fs.ErrNotExist: there
// is none. It reports false if the look is to be repeated soon, because bad news
// counts only when a second look confirms it.
func (k *Keeper) look(data []byte, err error, writes uint64) (settled bool) {
	defer ring(k.notifierBell)
	k.mu.Lock()
	defer k.mu.Unlock()
	if writes != k.search.writes {
		return false
	}
	defer func() {
		k.endLook()
		k.notifyState()
	}()
	if err != nil {
		return k.doubt(k.lacking(err), err, nil)
	}
	if k.search.seen != nil && bytes.Equal(data, k.search.seen) {
		k.mend()
		return true
	}
	if k.search.bad != nil && bytes.Equal(data, k.search.bad) {
		k.search.doubted = false
		return true
	}
	found := k.verifier.Open(data)
	if !found.Genuine() {
		return k.doubt(found, found.Err(), data)
	}
	k.adopt(held{found, data})
	return true
}

// endLook ends the first look; k.mu is held.
func (k *Keeper) endLook() {
	if !k.search.ended {
		k.search.ended = true
		close(k.looked)
	}
}

// mend ends the reported fault, if any; k.mu is held.
func (k *Keeper) mend() {
	search := &k.search
	if search.fault != "" && search.seen != nil {
		k.note(Event{Kind: Mended})
	}
	search.fault, search.cause, search.bad, search.absent, search.doubted = "", nil, nil, false, false
}

// adopt puts a genuine license in force, now or when its time comes; k.mu is
// held.
func (k *Keeper) adopt(found held) {
	k.mend()
	ring(k.renewBell)
	k.search.seen = found.text
	old := *k.view.Load().now()
	if bytes.Equal(found.text, old.text) {
		k.view.Store(&view{good: old})
		return
	}
	if err := found.validity.Err(); err != nil && old.validity.Err() == nil {
		k.view.Store(&view{good: old, next: &found})
		k.note(Event{Kind: Deferred, Validity: found.validity, Err: err})
		return
	}
	k.view.Store(&view{good: found})
	if old.text != nil {
		k.note(Event{Kind: Replaced, Validity: found.validity})
	}
}

// doubt deals with bad news: where a genuine license is known it stays, and
// otherwise instead is what stands; k.mu is held.
func (k *Keeper) doubt(instead *license.Validity, cause error, text []byte) (settled bool) {
	search := &k.search
	if search.fault == cause.Error() {
		search.doubted, search.bad = false, text
		return true
	}
	if search.ended && !search.doubted {
		search.doubted = true
		return false
	}
	search.fault, search.cause, search.doubted = cause.Error(), cause, false
	search.absent, search.bad = errors.Is(cause, fs.ErrNotExist), text
	known := search.seen != nil
	switch {
	case known && search.absent:
		k.note(Event{Kind: Vanished, Err: cause})
	case known || k.view.Load().good.validity.State() == instead.State() && !search.absent:
		k.note(Event{Kind: Rejected, Err: cause})
	}
	if !known {
		k.view.Store(&view{good: held{validity: instead}})
	}
	return true
}

// lacking is the validity without a license that can be read. Clients may read its
// words, so they name no path.
func (k *Keeper) lacking(err error) *license.Validity {
	switch isAbsent := errors.Is(err, fs.ErrNotExist); {
	case isAbsent && k.source.kind == file:
		return license.Missing("the configured file does not exist")
	case isAbsent && k.source.kind == inline:
		return license.Missing("the configured text is empty")
	case isAbsent:
		return license.Missing("none is installed")
	}
	why := err
	var atPath *fs.PathError
	if errors.As(err, &atPath) {
		why = atPath.Err
	}
	return license.Invalid(fmt.Sprintf("the configured file cannot be read: %v", why))
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
	data, err := storage.Do(k.ctx, k.files, func(context.Context) ([]byte, error) { return readBounded(k.source.value, license.MaxSize) })
	if k.ctx.Err() != nil || k.look(data, err, 0) {
		return fileLook
	}
	return secondLook
}

// watchStorage looks at the license in storage.
func (k *Keeper) watchStorage() time.Duration {
	h := k.leases.Newest()
	switch {
	case h == nil:
		return idle
	case !h.HasStorage():
		k.failLook(storage.ErrNoStorage)
		return idle
	}
	k.mu.Lock()
	writes, read := k.search.writes, h.Find
	if k.search.absent {
		read = h.Load // that there is none is no news, and need not be made sure of
	}
	k.mu.Unlock()
	data, err := read(h.Context(), installedKey)
	if h.Context().Err() != nil {
		return 0 // it detached meanwhile; perhaps another one is there
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.failLook(err)
		return spread(h.Host.Refresh)
	}
	k.outage(lookTopic, nil)
	if k.look(data, err, writes) {
		return spread(h.Host.Refresh)
	}
	return min(h.Host.Refresh, secondLook)
}

// failLook ends a look that came to nothing.
func (k *Keeper) failLook(err error) {
	k.outage(lookTopic, err)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endLook()
}

// readBounded reads a regular file; opening a pipe would wait for its other end.
func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > most:
		return nil, fmt.Errorf("it has %d bytes; want at most %d", info.Size(), most)
	}
	f, err := os.Open(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(f, most+1))
}
