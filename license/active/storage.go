package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
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
	List(ctx context.Context, path string, recursive bool) ([]string, error)
}

// Names in storage. The folders' names do not begin alike, because some storages
// would list both for one.
const (
	folder       = "gatehouse/license"
	installedKey = folder + "/installed.json"
	clockKey     = folder + "/clock.json"
	lockName     = "gatehouse-license"
	recordFolder = "gatehouse/signed"
)

const (
	callLimit = 5 * time.Second // for one call
	callGrace = time.Second     // for one that ends late
	// maxStuck bounds the calls that never came back.
	maxStuck = 16
	// listTries is how often a folder is listed from which a temporary file went
	// away meanwhile: file_system then gives up and says that it does not exist.
	listTries = 20
	listPause = 5 * time.Millisecond
)

var (
	errNoStorage = errors.New("no storage is attached")
	errStuck     = errors.New("earlier calls have not been answered yet")
	errNoAnswer  = fmt.Errorf("no answer within %s", callLimit)
	errReadBack  = errors.New("what was read back is not what was written")
	errDeaf      = errors.New("it is waited for longer than was asked")
	errWavers    = errors.New("storage lists a record that it does not find")
)

// within makes a call with a time limit. A call that ignores its context is left
// behind, so that it can hold up neither the keeper nor Close.
func within[T any](ctx context.Context, stuck *atomic.Int32, call func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if stuck.Load() >= maxStuck {
		return none, errStuck
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	answers := make(chan answer, 1)
	stuck.Add(1)
	go func() {
		defer stuck.Add(-1)
		v, err := call(limited)
		answers <- answer{v, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-limited.Done():
	}
	late := time.NewTimer(callGrace)
	defer late.Stop()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-late.C:
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	return none, errNoAnswer
}

// vault is a storage that is called with care.
type vault struct {
	storage Storage
	stuck   *atomic.Int32
}

func (v vault) load(ctx context.Context, key string) ([]byte, error) {
	data, err := within(ctx, v.stuck, func(ctx context.Context) ([]byte, error) { return v.storage.Load(ctx, key) })
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return data, nil
}

// storeChecked stores and reads back.
func (v vault) storeChecked(ctx context.Context, key string, value []byte) error {
	_, err := within(ctx, v.stuck, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, v.storage.Store(ctx, key, value)
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", key, err)
	}
	got, err := v.load(ctx, key)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, value) {
		return fmt.Errorf("%w: %s", errReadBack, key)
	}
	return nil
}

// list returns what is listed of a folder, without repetition and in order. It
// also holds temporary files, folders, and what lies beside the folder. No folder
// is an empty one.
func (v vault) list(ctx context.Context, folder string) (keys []string, err error) {
	for range listTries {
		keys, err = within(ctx, v.stuck, func(ctx context.Context) ([]string, error) {
			return v.storage.List(ctx, folder, false)
		})
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if len(keys) == 0 && isFolder(err, folder) {
			return nil, nil
		}
		pause := time.NewTimer(spread(listPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	listed := make([]string, 0, len(keys))
	for _, key := range keys {
		listed = append(listed, strings.Trim(key, "/"))
	}
	slices.Sort(listed)
	return slices.Compact(listed), nil
}

// isFolder reports whether it is the folder that does not exist, and not something
// in it.
func isFolder(err error, folder string) bool {
	var atPath *fs.PathError
	return !errors.As(err, &atPath) || strings.HasSuffix(filepath.ToSlash(atPath.Path), folder)
}

// find loads a value. The error is fs.ErrNotExist only if a listing agrees: a
// storage may say so of everything while it is out of reach.
func (v vault) find(ctx context.Context, key string) ([]byte, error) {
	data, err := v.load(ctx, key)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	keys, listErr := v.list(ctx, folder)
	if listErr != nil {
		return nil, fmt.Errorf("making sure that %s is not there: %v", key, listErr) //nolint:errorlint // not to be taken for the error below
	}
	if !slices.Contains(keys, key) {
		return nil, err
	}
	if data, err = v.load(ctx, key); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", errWavers, key)
	}
	return data, err
}

// lasting reports whether trying again soon is of no use.
func lasting(err error) bool {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errNoStorage) {
		return true
	}
	return slices.ContainsFunc(lastingErrors, func(e syscall.Errno) bool {
		// The lock of a folder tells its reason as text only.
		return err != nil && (errors.Is(err, e) || strings.Contains(err.Error(), e.Error()))
	})
}

var lastingErrors = []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOSPC}

// insist tries until it succeeds, the context ends or trying is of no use. The
// error is ErrBusy with the last failure.
func insist(ctx context.Context, try func() error) error {
	wait := 25 * time.Millisecond
	for {
		err := try()
		if err == nil {
			return nil
		}
		if lasting(err) {
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
		pause := time.NewTimer(spread(wait))
		select {
		case <-pause.C:
			wait = min(2*wait, time.Second)
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
	}
}

// unlockLimit is how long giving the lock back may take before it is left alone;
// it then expires by itself.
const unlockLimit = 2 * time.Second

// lockPatience is how long the first call of Lock may wait before the lock is
// asked for anew: some storages look at a held lock every 20 seconds only, but at
// once when asked. It grows by half at each call, for storages that are far away.
const lockPatience = time.Second

// lock takes the storage's lock, or stops waiting when the context ends.
func (v vault) lock(ctx context.Context) (unlock func(), err error) {
	for patience := lockPatience; ; patience += patience / 2 {
		call, cancel := context.WithTimeout(ctx, patience)
		unlock, err = v.lockOnce(ctx, call)
		over := call.Err() != nil
		cancel()
		if err == nil || !over || ctx.Err() != nil || lasting(err) {
			return unlock, err
		}
		if errors.Is(err, errDeaf) { // more of those would only pile up
			return v.lockOnce(ctx, ctx)
		}
	}
}

// lockOnce calls Lock. It may wait, fail at once or never return; if it succeeds
// when nobody waits any more, the lock is given back.
func (v vault) lockOnce(ctx, call context.Context) (unlock func(), err error) {
	if v.stuck.Load() >= maxStuck {
		return nil, errStuck
	}
	var settled atomic.Bool // exactly one side deals with a lock that is granted
	answer := make(chan error, 1)
	v.stuck.Add(1)
	go func() {
		defer v.stuck.Add(-1)
		err := v.storage.Lock(call, lockName)
		if settled.CompareAndSwap(false, true) {
			answer <- err
			return
		}
		if err == nil {
			v.unlock(ctx)
		}
	}()
	select {
	case err = <-answer:
	case <-call.Done():
		late := time.NewTimer(lockPatience / 4) // for a call that ends a little late
		defer late.Stop()
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = giveUp(&settled, answer)
		case <-late.C:
			err = giveUp(&settled, answer)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("taking the lock %s: %w", lockName, err)
	}
	return func() { v.unlock(ctx) }, nil
}

// giveUp leaves a call of Lock to itself, unless there is an answer after all.
func giveUp(settled *atomic.Bool, answer <-chan error) error {
	if settled.CompareAndSwap(false, true) {
		return errDeaf
	}
	return <-answer
}

// unlock is done even if the context has ended.
func (v vault) unlock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockLimit)
	defer cancel()
	_, _ = within(ctx, v.stuck, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, v.storage.Unlock(ctx, lockName)
	})
}
