package active

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// faultStorage is a storage with a switch for what real ones are found to do.
type faultStorage struct {
	t  *testing.T
	mu sync.Mutex

	values map[string][]byte
	held   bool
	freed  chan struct{} // closed and made anew at each Unlock

	down       bool  // Load finds nothing, all else fails
	err        error // of every call
	lockErr    error // Lock fails at once
	lockPolls  bool  // a held lock is looked at every 20 seconds
	lockNever  bool  // Lock never returns, and ignores its context
	lockShared bool  // Lock is granted to everybody
	noFolder   error // of List where nothing is; nil: an empty list
	listing    func([]string) []string
	listErrs   []error       // of the next calls of List
	unlockErrs []error       // of the next calls of Unlock
	gate       chan struct{} // calls but Lock and Unlock wait for it
	deaf       bool          // and ignore their context meanwhile
	waiting    int           // calls that wait for it
	stored     func(key string)

	loads, stores, lists, locks int
}

func newFaultStorage(t *testing.T) *faultStorage {
	return &faultStorage{t: t, values: map[string][]byte{}, freed: make(chan struct{}), noFolder: fs.ErrNotExist}
}

var (
	// tempGone: a temporary file went away while its folder was listed.
	tempGone = &fs.PathError{Op: "lstat", Path: "/data/" + folder + "/8674665223", Err: fs.ErrNotExist}
	errDown  = errors.New("connection refused")
	safeKey  = regexp.MustCompile(`^[a-z0-9._/-]+$`)
)

func (h *faultStorage) enter(ctx context.Context) error {
	h.mu.Lock()
	gate, deaf, err := h.gate, h.deaf, h.err
	if gate != nil {
		h.waiting++
	}
	h.mu.Unlock()
	over := ctx.Done()
	if deaf {
		over = nil
	}
	if gate != nil {
		defer h.do(func() { h.waiting-- })
		select {
		case <-gate:
		case <-over:
			return ctx.Err()
		}
	}
	return err
}

func (h *faultStorage) Load(ctx context.Context, key string) ([]byte, error) {
	err := h.enter(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loads++
	if err != nil {
		return nil, err
	}
	value, ok := h.values[key]
	if !ok || h.down {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(value), nil
}

func (h *faultStorage) Store(ctx context.Context, key string, value []byte) error {
	err := h.enter(ctx)
	h.mu.Lock()
	h.stores++
	if err == nil && h.down {
		err = errDown
	}
	if len(value) == 0 || !safeKey.MatchString(key) {
		h.t.Errorf("storing %d bytes as %q, which not every storage takes", len(value), key)
	}
	if err == nil {
		h.values[key] = slices.Clone(value)
	}
	after := h.stored
	h.mu.Unlock()
	if err == nil && after != nil {
		after(key)
	}
	return err
}

func (h *faultStorage) Delete(context.Context, string) error {
	h.t.Error("nothing of the license is ever deleted")
	return nil
}

func (h *faultStorage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	err := h.enter(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lists++
	if recursive {
		h.t.Error("a recursive listing, which not every storage does")
	}
	if len(h.listErrs) > 0 {
		err, h.listErrs = h.listErrs[0], h.listErrs[1:]
	}
	if err == nil && h.down {
		err = errDown
	}
	if err != nil {
		return nil, err
	}
	var keys []string
	for key := range h.values {
		if strings.HasPrefix(key, path+"/") {
			keys = append(keys, key)
		}
	}
	if h.listing != nil {
		keys = h.listing(keys)
	}
	if len(keys) == 0 {
		return nil, h.noFolder
	}
	return keys, nil
}

func (h *faultStorage) Lock(ctx context.Context, name string) error {
	for {
		h.mu.Lock()
		h.locks++
		err, freed, never := h.lockErr, h.freed, h.lockNever
		if h.down {
			err = errDown
		}
		if err == nil && !never && (!h.held || h.lockShared) {
			h.held = true
			h.mu.Unlock()
			return nil
		}
		h.mu.Unlock()
		if err != nil {
			return err
		}
		over := ctx.Done()
		if never {
			over = nil
		}
		var poll <-chan time.Time
		if h.lockPolls {
			freed, poll = nil, time.After(20*time.Second)
		}
		select {
		case <-freed:
		case <-poll:
		case <-over:
			return ctx.Err()
		}
	}
}

func (h *faultStorage) Unlock(_ context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.unlockErrs) > 0 {
		err := h.unlockErrs[0]
		h.unlockErrs = h.unlockErrs[1:]
		return err
	}
	if !h.held {
		return fmt.Errorf("%s is not locked", name)
	}
	h.held = false
	h.free()
	return nil
}

// free wakes all who wait for the lock; h.mu is held.
func (h *faultStorage) free() {
	close(h.freed)
	h.freed = make(chan struct{})
}

// do changes the storage or its switches.
func (h *faultStorage) do(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *faultStorage) put(key string, value []byte) { h.do(func() { h.values[key] = value }) }

func (h *faultStorage) get(key string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.values[key]
}

// count reads one of the counters.
func (h *faultStorage) count(counter *int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *counter
}

// isHeld reports whether anybody holds the lock.
func (h *faultStorage) isHeld() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

// open lets all calls go that wait.
func (h *faultStorage) open() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lockNever = false
	if h.gate != nil {
		close(h.gate)
		h.gate = nil
	}
	h.free()
}
