package storage

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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

// ErrNoStorage: the configuration has none.
var ErrNoStorage = errors.New("no storage is attached")

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

// quickTrip is how soon a storage answers that is taken for one of this machine.
const quickTrip = 10 * time.Millisecond

// Each is [Each] with as many calls at once as suit the storage: 8 while answers take
// their time, but one after another if they are quick, with a [rest] now and then. Then
// calls are mostly work of this machine, such as writing files. Two need no rest.
func (c *Client) Each(n int, f func(i int) error) error {
	if n <= 2 || time.Duration(c.calls.trip.Load()) >= quickTrip {
		return Each(n, 8, f)
	}
	begun := time.Now()
	for i := range n {
		if err := f(i); err != nil {
			return err
		}
		if i < n-1 {
			begun = rest(begun)
		}
	}
	return nil
}

// rest sleeps for as long as work in the background has gone on since it was begun, 2 ms
// at most, and tells when what follows begins: work that goes on and on, if only for some
// milliseconds, has requests wait for a processor. Shorter work goes on without it.
func rest(begun time.Time) time.Time {
	took := time.Since(begun)
	if took < 300*time.Microsecond {
		return begun
	}
	time.Sleep(min(took, 2*time.Millisecond))
	return time.Now()
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

// Store writes a value. One that failed may be there all the same, or come to be
// there later.
func (c *Client) Store(ctx context.Context, key string, value []byte) error {
	_, err := ask(ctx, c, "writing", key, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.storage.Store(ctx, key, value)
	})
	return err
}

// Delete deletes one value. Deleting a folder would leave what is in it on most
// storages.
func (c *Client) Delete(ctx context.Context, key string) error {
	_, err := ask(ctx, c, "deleting", key, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.storage.Delete(ctx, key)
	})
	return err
}
