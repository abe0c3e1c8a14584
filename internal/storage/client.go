package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Storage is what is needed of a certmagic.Storage; every one of those is one.
type Storage interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
	Store(ctx context.Context, key string, value []byte) error
	Load(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, path string, recursive bool) ([]string, error)
}

// Errors beside those of [Do], and of the storage itself.
var (
	// ErrNoStorage: the configuration has none.
	ErrNoStorage = errors.New("no storage is attached")
	// ErrReadBack: what was read back is not what was written.
	ErrReadBack = errors.New("what was read back is not what was written")
	// ErrWavers: a value is listed, but not found.
	ErrWavers = errors.New("storage lists a record that it does not find")
	// ErrMoves: a listing never came to its end.
	ErrMoves = errors.New("files went away each time while they were listed")
)

// Client calls a storage with care. Errors say what was being done, and wrap the
// storage's own. Its methods are safe for concurrent use.
type Client struct {
	storage Storage // nil: there is none
	calls   *Calls
	locks   *Calls
	asked   atomic.Uint32          // calls of Lock so far
	seen    atomic.Pointer[string] // the key that was read last
}

// NewClient makes a client. If s is nil, everything fails with [ErrNoStorage].
// Calls may take as long as limit; zero: [DefaultLimit].
func NewClient(s Storage, limit time.Duration) *Client {
	return &Client{storage: s, calls: NewCalls(limit), locks: NewCalls(limit)}
}

// HasStorage reports whether there is one.
func (c *Client) HasStorage() bool { return c.storage != nil }

const (
	quickTrip = 10 * time.Millisecond // a storage that answers sooner is taken for one of this machine
	maxRest   = 2 * time.Millisecond  // between two calls of it
)

// Each is [Each] with as many calls at once as suit the storage: 8 while answers take
// their time, but 2 if they are quick, and these rest between two calls as long as the
// first of them took. Then calls are mostly work of this machine, such as writing
// files, and much of it without a pause would keep its processors from requests.
func (c *Client) Each(n int, f func(i int) error) error {
	if time.Duration(c.calls.trip.Load()) >= quickTrip {
		return Each(n, 8, f)
	}
	const atOnce = 2
	return Each(n, atOnce, func(i int) error {
		begun := time.Now()
		err := f(i)
		if err == nil && i < n-atOnce { // another one follows
			time.Sleep(min(time.Since(begun), maxRest))
		}
		return err
	})
}

// Stuck counts the calls that were left behind and have not returned yet.
func (c *Client) Stuck() int { return int(c.calls.late.Load() + c.locks.late.Load()) }

// ask makes one call; doing says what for.
func ask[T any](ctx context.Context, c *Client, doing, what string, call func(context.Context) (T, error)) (T, error) {
	var value T
	err := ErrNoStorage
	if c.storage != nil {
		value, err = Do(ctx, c.calls, call)
	}
	if err != nil {
		return value, fmt.Errorf("%s %s: %w", doing, what, err)
	}
	return value, nil
}

// Load reads a value. That it is not found (fs.ErrNotExist) is no proof that it is
// not there: see [Client.Find].
func (c *Client) Load(ctx context.Context, key string) ([]byte, error) {
	value, err := ask(ctx, c, "reading", key, func(ctx context.Context) ([]byte, error) { return c.storage.Load(ctx, key) })
	if err == nil {
		c.seen.Store(&key)
	}
	return value, err
}

// Find reads a value. Its error is fs.ErrNotExist only if a listing agrees, and
// [ErrWavers] if that does not.
func (c *Client) Find(ctx context.Context, key string) ([]byte, error) {
	value, err := c.Load(ctx, key)
	if !errors.Is(err, fs.ErrNotExist) {
		return value, err
	}
	keys, listErr := c.List(ctx, path.Dir(key))
	switch {
	case listErr != nil:
		return nil, fmt.Errorf("making sure that %s is not there: %w", key, listErr)
	case !slices.Contains(keys, key):
		return nil, err
	}
	if value, err = c.Load(ctx, key); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrWavers, key)
	}
	return value, err
}

// Store writes a value. One that failed may be there all the same, or come to be
// there later.
func (c *Client) Store(ctx context.Context, key string, value []byte) error {
	_, err := ask(ctx, c, "writing", key, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.storage.Store(ctx, key, value)
	})
	return err
}

// StoreChecked is Store and [Client.ReadBack].
func (c *Client) StoreChecked(ctx context.Context, key string, value []byte) error {
	if err := c.Store(ctx, key, value); err != nil {
		return err
	}
	return c.ReadBack(ctx, key, value)
}

// ReadBack makes sure that the key holds the value; else the error is
// [ErrReadBack].
func (c *Client) ReadBack(ctx context.Context, key string, value []byte) error {
	got, err := c.Load(ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("reading back: %w", err)
	case !bytes.Equal(got, value):
		return fmt.Errorf("%w: %s", ErrReadBack, key)
	}
	return nil
}

// Delete deletes one value. Deleting a folder would leave what is in it on most
// storages.
func (c *Client) Delete(ctx context.Context, key string) error {
	_, err := ask(ctx, c, "deleting", key, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.storage.Delete(ctx, key)
	})
	return err
}

const (
	// listTries is how often a folder is listed from which files go away meanwhile.
	listTries = 20
	listPause = 5 * time.Millisecond
)

// List returns the keys right in a folder, in order and each once. Temporary files
// are among them, so take only names of a form that you write; and a key may be
// gone by the time that it is loaded. No folder is an empty one.
func (c *Client) List(ctx context.Context, folder string) ([]string, error) {
	for range listTries {
		listed, err := ask(ctx, c, "listing", folder, func(ctx context.Context) ([]string, error) {
			return c.storage.List(ctx, folder, false)
		})
		if err == nil {
			keys := make([]string, 0, len(listed))
			for _, key := range listed {
				if key = strings.Trim(key, "/"); path.Dir(key) == folder {
					keys = append(keys, key)
				}
			}
			slices.Sort(keys)
			return slices.Compact(keys), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		// Is it the folder that is not found, or something in it?
		atPath, named := errors.AsType[*fs.PathError](err)
		if len(listed) == 0 && (!named || strings.HasSuffix(filepath.ToSlash(atPath.Path), folder)) {
			return nil, nil
		}
		if err := Pause(ctx, Spread(listPause, 0.1)); err != nil {
			return nil, fmt.Errorf("listing %s: %w", folder, err)
		}
	}
	return nil, fmt.Errorf("listing %s: %w", folder, ErrMoves)
}

// IsLasting reports whether trying again soon is useless. An owner may know more
// such errors.
func IsLasting(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrNoStorage) {
		return true
	}
	return slices.ContainsFunc(lasting, func(e syscall.Errno) bool {
		// The lock of a folder gives its reason as text only.
		return errors.Is(err, e) || strings.Contains(err.Error(), e.Error())
	})
}

var lasting = []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC}
