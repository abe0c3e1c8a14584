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
	"syscall"
	"time"
)

// What storages do otherwise than expected, and what is done about it here. The
// package's comment lists all of it: call.go is for calls that do not return, lock.go
// for locks.

// Errors of a storage that contradicts itself.
var (
	// ErrReadBack: what was read back is not what was written.
	ErrReadBack = errors.New("what was read back is not what was written")
	// ErrWavers: a value is listed, but not found.
	ErrWavers = errors.New("storage lists a record that it does not find")
	// ErrMoves: a listing never came to its end.
	ErrMoves = errors.New("files went away each time while they were listed")
)

const (
	// listTries is how often a folder is listed from which files go away meanwhile.
	listTries = 20
	listPause = 5 * time.Millisecond
)

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
