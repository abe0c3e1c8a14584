package faultstorage

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
)

// Node is one process's handle on an engine.
type Node struct {
	engine *Engine
	calls  atomic.Int64
	dieAt  atomic.Int64
}

// DieAt makes the process die in its nth call of storage from now on: a Store in
// the middle of its value if the engine is not atomic, anything else before it.
// Its locks stay held.
func (n *Node) DieAt(call int) {
	n.calls.Store(0)
	n.dieAt.Store(int64(call))
}

// Dead reports whether the process died.
func (n *Node) Dead() bool { return n.dieAt.Load() > 0 && n.calls.Load() >= n.dieAt.Load() }

// step counts a call, and reports whether the process is dead, or dies in it.
func (n *Node) step() (dying, dead bool) {
	call, at := n.calls.Add(1), n.dieAt.Load()
	return at > 0 && call == at, at > 0 && call > at
}

// Store implements certmagic.Storage.
func (n *Node) Store(_ context.Context, key string, value []byte) error {
	dying, dead := n.step()
	e := n.engine
	down, err := e.meet("Store", key)
	if dead || dying && !e.faults.NotAtomic {
		return ErrDead
	}
	if err != nil {
		return err
	}
	if down {
		return ErrDown
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.storeErr != nil:
		return e.storeErr
	case len(value) == 0:
		e.violations = append(e.violations, "Store of an empty value at "+key)
		return errRefuse
	case e.faults.LateWrites && rand.N(4) == 0: //nolint:gosec // not a secret
		e.writeLate(key, value)
		return ErrFlaky
	}
	if e.faults.NotAtomic {
		e.write(key, value[:len(value)/2])
		if dying {
			return ErrDead
		}
		e.mu.Unlock()
		time.Sleep(100 * time.Microsecond)
		e.mu.Lock()
	}
	e.write(key, value)
	return nil
}

// write needs e.mu.
func (e *Engine) write(key string, value []byte) {
	e.values[key] = slices.Clone(value)
	e.writes++
	at := time.Now()
	if e.faults.ClockRunsBack {
		at = at.Add(-time.Duration(e.writes) * time.Minute).Truncate(time.Second)
	}
	e.modified[key] = at
}

// writeLate needs e.mu.
func (e *Engine) writeLate(key string, value []byte) {
	value = slices.Clone(value)
	e.late.Go(func() {
		time.Sleep(rand.N(30 * time.Millisecond)) //nolint:gosec // not a secret
		e.mu.Lock()
		defer e.mu.Unlock()
		e.write(key, value)
	})
}

// Load implements certmagic.Storage.
func (n *Node) Load(_ context.Context, key string) ([]byte, error) {
	value, _, err := n.read("Load", key)
	return value, err
}

// Stat implements certmagic.Storage.
func (n *Node) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	value, at, err := n.read("Stat", key)
	return certmagic.KeyInfo{Key: key, Modified: at, Size: int64(len(value)), IsTerminal: true}, err
}

func (n *Node) read(method, key string) ([]byte, time.Time, error) {
	dying, dead := n.step()
	e := n.engine
	down, err := e.meet(method, key)
	switch {
	case dying || dead:
		return nil, time.Time{}, ErrDead
	case down && e.faults.MissingWhileDown:
		return nil, time.Time{}, fmt.Errorf("fault storage: %s: %w", key, fs.ErrNotExist)
	case down:
		return nil, time.Time{}, ErrDown
	case err != nil:
		return nil, time.Time{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	value, ok := e.values[key]
	switch {
	case !ok && e.faults.RawMissing:
		return nil, time.Time{}, ErrDriver
	case !ok:
		return nil, time.Time{}, fmt.Errorf("fault storage: %s: %w", key, fs.ErrNotExist)
	}
	return slices.Clone(value), e.modified[key], nil
}

// Exists implements certmagic.Storage.
func (n *Node) Exists(ctx context.Context, key string) bool {
	_, err := n.Stat(ctx, key)
	return err == nil
}

// Delete implements certmagic.Storage.
func (n *Node) Delete(_ context.Context, key string) error {
	dying, dead := n.step()
	e := n.engine
	down, err := e.meet("Delete", key)
	switch {
	case dying || dead:
		return ErrDead
	case down:
		return ErrDown
	case err != nil:
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.values, key)
	for other := range e.values {
		if !e.faults.DeleteLeavesChildren && strings.HasPrefix(other, key+"/") {
			delete(e.values, other)
		}
	}
	return nil
}

// List implements certmagic.Storage.
func (n *Node) List(_ context.Context, folder string, recursive bool) ([]string, error) {
	dying, dead := n.step()
	e := n.engine
	down, err := e.meet("List", folder)
	switch {
	case dying || dead:
		return nil, ErrDead
	case down:
		return nil, ErrDown
	case err != nil:
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.list(folder, recursive)
}

// list needs e.mu.
func (e *Engine) list(folder string, recursive bool) ([]string, error) {
	var keys []string
	there := false
	for key := range e.values {
		in := strings.HasPrefix(key, folder+"/")
		there = there || in
		beside := e.faults.ListSiblings && strings.HasPrefix(key, folder)
		deep := in && strings.Contains(key[len(folder)+1:], "/")
		if in && (recursive || !deep) || beside || e.faults.ListAll {
			keys = append(keys, key)
		}
	}
	if !there {
		switch {
		case e.faults.ListMissing == ListError:
			return nil, fmt.Errorf("fault storage: %s: %w", folder, fs.ErrNotExist)
		case e.faults.ListMissing == ListFails && recursive:
			return nil, ErrDriver
		}
	}
	if e.faults.TemporaryNames {
		keys = append(keys, folder+"/"+fmt.Sprint(rand.Uint32()), folder+"/.nfs0001", folder+"/lost+found") //nolint:gosec // not a secret
	}
	if e.faults.ListFolders {
		keys = append(keys, folder, path.Dir(folder), folder+"/")
	}
	if e.faults.ListSiblings {
		keys = append(keys, folder+"_b/shard-00-00000000000000000000000000000000.json")
	}
	slices.Sort(keys)
	if e.faults.ListBreaks && there && e.calls["List"]%2 == 1 {
		gone := &fs.PathError{Op: "lstat", Path: "/data/" + folder + "/8674665223", Err: fs.ErrNotExist}
		return keys[:len(keys)/2], gone
	}
	return keys, nil
}

const lockPoll = 20 * time.Second

// Lock implements certmagic.Storage.
func (n *Node) Lock(ctx context.Context, name string) error {
	dying, dead := n.step()
	e := n.engine
	down, err := e.meet("Lock", name)
	switch {
	case dying || dead:
		return ErrDead
	case down:
		return ErrDown
	case err != nil:
		return err
	}
	done := ctx.Done()
	if e.faults.LockNeverReturns {
		done = nil
	}
	for {
		e.mu.Lock()
		free := e.free
		if err := e.lockErr; err != nil {
			e.mu.Unlock()
			return err
		}
		if e.locks[name] == 0 || e.faults.LockExpires && rand.N(4) > 0 { //nolint:gosec // not a secret
			e.locks[name]++
			e.mu.Unlock()
			return nil
		}
		e.mu.Unlock()
		if e.faults.LockFailsAtOnce {
			return ErrHeld
		}
		var poll <-chan time.Time
		if e.faults.LockPolls {
			free, poll = nil, time.After(lockPoll)
		}
		select {
		case <-free:
		case <-poll:
		case <-done:
			return ctx.Err()
		case <-e.released:
			return ErrDown
		}
	}
}

// Unlock implements certmagic.Storage.
func (n *Node) Unlock(_ context.Context, name string) error {
	dying, dead := n.step()
	e := n.engine
	down, err := e.meet("Unlock", name)
	switch {
	case dying || dead:
		return ErrDead
	case down:
		return ErrDown
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.locks[name] == 0 {
		return ErrDriver
	}
	e.unlock(name)
	return err
}

// Interface guard
var _ certmagic.Storage = (*Node)(nil)
