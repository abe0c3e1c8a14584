package faultstorage

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Faults are what an engine does wrong. The zero value is a good engine. They
// are set once, by [New].
type Faults struct {
	// MissingWhileDown: Load and Stat of an engine that is down answer
	// fs.ErrNotExist instead of failing.
	MissingWhileDown bool
	// TemporaryNames: List shows names of digits only and foreign ones.
	TemporaryNames bool
	// ListMissing says what List does about a folder that is not there.
	ListMissing ListMissing
	// ListFolders: List includes folders, the one asked for too.
	ListFolders bool
	// ListSiblings: List of `a` shows `a_b/` too.
	ListSiblings bool
	// ListAll: List ignores the path.
	ListAll bool
	// ListBreaks: every other List of a folder that is there stops half-way with
	// fs.ErrNotExist, because a temporary file in it went away meanwhile.
	ListBreaks bool
	// DeleteLeavesChildren: Delete of a folder deletes nothing in it.
	DeleteLeavesChildren bool
	// RawMissing: Load and Stat of a missing key fail with an error of the driver.
	RawMissing bool
	// LockFailsAtOnce: Lock does not wait for a lock that is held.
	LockFailsAtOnce bool
	// LockPolls: Lock looks at once, and then every 20 seconds only.
	LockPolls bool
	// LockNeverReturns: a Lock that waits goes on waiting when its context ends.
	LockNeverReturns bool
	// LockExpires: a lock that is held is granted to another all the same, more
	// often than not.
	LockExpires bool
	// NotAtomic: Store first writes half of the value.
	NotAtomic bool
	// LateWrites: one Store of four fails, and then happens all the same, later.
	LateWrites bool
	// Flaky: one call of sixteen fails.
	Flaky bool
	// ClockRunsBack: Stat.Modified runs backwards, in steps of a second.
	ClockRunsBack bool
	// Trip is how long every call takes, neither more nor less.
	Trip time.Duration
	// Slow: every call takes up to this long, whatever its context says.
	Slow time.Duration
}

// ListMissing is what List does about a folder that is not there.
type ListMissing int

// What engines do.
const (
	ListError ListMissing = iota // fs.ErrNotExist
	ListEmpty
	ListFails // an error of the driver, if recursive; else empty
)

// Errors of the engine.
var (
	ErrDown   = errors.New("fault storage: connection refused")
	ErrDriver = errors.New("fault storage: driver: no rows in result set")
	ErrHeld   = errors.New("fault storage: the lock is held")
	ErrFlaky  = errors.New("fault storage: connection reset by peer")
	ErrDead   = errors.New("fault storage: the process is dead")
	errRefuse = errors.New("fault storage: refused")
)

// Engine is the server. Its methods are safe for concurrent use.
type Engine struct {
	faults Faults

	mu         sync.Mutex
	values     map[string][]byte
	modified   map[string]time.Time
	writes     int
	locks      map[string]int // holders
	free       chan struct{}  // closed and replaced whenever a lock is freed
	down       bool
	storeErr   error
	lockErr    error
	violations []string
	calls      map[string]int
	late       sync.WaitGroup
	released   chan struct{}
}

// New makes an engine that holds nothing. Release must be called in the end.
func New(f Faults) *Engine {
	return &Engine{
		faults: f, values: map[string][]byte{}, modified: map[string]time.Time{}, locks: map[string]int{},
		calls: map[string]int{}, free: make(chan struct{}), released: make(chan struct{}),
	}
}

// Node is a handle for one more process.
func (e *Engine) Node() *Node { return &Node{engine: e} }

// Release ends all calls that would never return, and waits for late writes.
func (e *Engine) Release() {
	e.mu.Lock()
	select {
	case <-e.released:
	default:
		close(e.released)
	}
	e.mu.Unlock()
	e.late.Wait()
}

// SetDown takes the engine down, or up again.
func (e *Engine) SetDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
}

// SetStoreError makes every Store fail with the error, as when the disk is full;
// nil ends that.
func (e *Engine) SetStoreError(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.storeErr = err
}

// SetLockError makes every Lock fail with the error; nil ends that.
func (e *Engine) SetLockError(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lockErr = err
}

// Held reports whether somebody holds the lock.
func (e *Engine) Held(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.locks[name] > 0
}

// Keys are the keys that hold a value, sorted.
func (e *Engine) Keys() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.values))
}

// Value is what a key holds; nil: nothing.
func (e *Engine) Value(key string) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.values[key])
}

// Set changes what a key holds, past all faults; nil: nothing any more.
func (e *Engine) Set(key string, value []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if value == nil {
		delete(e.values, key)
		return
	}
	e.values[key] = slices.Clone(value)
}

// Wipe empties the engine.
func (e *Engine) Wipe() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.values)
}

// Clone makes a good engine with the same values.
func (e *Engine) Clone() *Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := New(Faults{})
	maps.Copy(c.values, e.values)
	return c
}

// Restore makes the engine hold what another one does; with keys, of those only.
func (e *Engine) Restore(from *Engine, keys ...string) {
	from.mu.Lock()
	values := maps.Clone(from.values)
	from.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(keys) == 0 {
		e.values = values
		return
	}
	for _, key := range keys {
		e.values[key] = values[key]
	}
}

// Violations are the calls that no engine takes.
func (e *Engine) Violations() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.violations)
}

// Calls counts the calls of a method so far.
func (e *Engine) Calls(method string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls[method]
}

// Free frees a lock, as one that a dead process held is freed in the end.
func (e *Engine) Free(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unlock(name)
}

// unlock needs e.mu.
func (e *Engine) unlock(name string) {
	delete(e.locks, name)
	close(e.free)
	e.free = make(chan struct{})
}

var safeKey = regexp.MustCompile(`^[a-z0-9._-]+(/[a-z0-9._-]+)*$`)

// meet is what every call meets first. It takes its time, and reports whether the
// engine is down.
func (e *Engine) meet(method, key string) (down bool, err error) {
	if e.faults.Trip > 0 {
		time.Sleep(e.faults.Trip)
	}
	if e.faults.Slow > 0 {
		time.Sleep(rand.N(e.faults.Slow)) //nolint:gosec // not a secret
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls[method]++
	if !safeKey.MatchString(key) {
		e.violations = append(e.violations, fmt.Sprintf("%s of the key %q", method, key))
		return false, errRefuse
	}
	if e.faults.Flaky && rand.N(16) == 0 { //nolint:gosec // not a secret
		return e.down, ErrFlaky
	}
	return e.down, nil
}
