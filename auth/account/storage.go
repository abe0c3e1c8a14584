package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Storage is what is needed of a certmagic.Storage; every one of those is one.
// It may be slow, away, or wrong in the ways that the package comment tells.
type Storage interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
	Store(ctx context.Context, key string, value []byte) error
	Load(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, path string, recursive bool) ([]string, error)
}

const (
	defaultCallLimit = 5 * time.Second
	// maxStuck bounds the calls, of all hosts, that storages never answered.
	maxStuck = 16
	parallel = 8 // calls of storage at once
)

var (
	errNoStorage = errors.New("no storage is attached")
	errStuck     = errors.New("storage has not answered earlier calls yet")
	errNoAnswer  = errors.New("storage did not answer in time")
)

// hosting is one configuration's attachment.
type hosting struct {
	host   Host
	ctx    context.Context // ends when it detaches
	cancel context.CancelFunc
	using  sync.WaitGroup // of the keeper, while it holds the lock
	stuck  *atomic.Int32  // the registry's count of calls without an answer
	deaf   *atomic.Int32  // and of those of Lock that nobody waits for any more
	asked  atomic.Uint32  // calls of Lock so far
	limit  time.Duration  // for one call
}

// ask calls the storage with a time limit. A storage that ignores its context is
// left behind, so that it can hold up neither the keeper nor Close.
func ask[T any](ctx context.Context, h *hosting, call func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if h.stuck.Load() >= maxStuck {
		return none, errStuck
	}
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	answers := make(chan answer, 1)
	h.stuck.Add(1)
	go func() {
		defer h.stuck.Add(-1)
		v, err := call(ctx)
		answers <- answer{v, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
	}
	late := time.NewTimer(h.limit / 5) // for a storage that ends a little late
	defer late.Stop()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-late.C:
		return none, errNoAnswer
	}
}

func (h *hosting) load(key string) ([]byte, error) {
	return ask(h.ctx, h, func(ctx context.Context) ([]byte, error) { return h.host.Storage.Load(ctx, key) })
}

func (h *hosting) store(key string, value []byte) error {
	_, err := ask(h.ctx, h, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.host.Storage.Store(ctx, key, value)
	})
	return err
}

func (h *hosting) delete(key string) error {
	_, err := ask(h.ctx, h, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.host.Storage.Delete(ctx, key)
	})
	return err
}

// wait fails when the host is gone.
func (h *hosting) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-h.ctx.Done():
		return h.ctx.Err()
	}
}

// unlock is done even if the host detached meanwhile.
func (h *hosting) unlock() error {
	_, err := ask(context.WithoutCancel(h.ctx), h, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.host.Storage.Unlock(ctx, lockName)
	})
	return err
}

// list returns the keys of the folder that are ours: listings also hold
// temporary files, folders, and what lies beside the folder. None is no error.
func (h *hosting) list() ([]string, error) {
	keys, err := ask(h.ctx, h, func(ctx context.Context) ([]string, error) {
		return h.host.Storage.List(ctx, folder, false)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	ours := make([]string, 0, len(keys))
	for _, key := range keys {
		key = strings.Trim(key, "/")
		if key == revisionKey || key == copyKey || shardKeyForm.MatchString(key) {
			ours = append(ours, key)
		}
	}
	slices.Sort(ours)
	return slices.Compact(ours), nil
}

// lasting reports whether trying again soon is of no use.
func lasting(err error) bool {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrDiverged) {
		return true
	}
	return slices.ContainsFunc(lastingErrors, func(e syscall.Errno) bool {
		// The lock of a folder tells its reason as text only.
		return err != nil && (errors.Is(err, e) || strings.Contains(err.Error(), e.Error()))
	})
}

var lastingErrors = []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC}

// each calls f for 0 to n-1, several at once, and returns the first error.
func each(n int, f func(i int) error) error {
	var (
		next  atomic.Int64
		first atomic.Pointer[error]
		all   sync.WaitGroup
	)
	for range min(n, parallel) {
		all.Go(func() {
			for first.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}
