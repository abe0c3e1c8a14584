package inforce

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// unlockLimit is how long giving the lock back may take before it is left alone;
// it then expires by itself.
const unlockLimit = 2 * time.Second

// lock takes the storage's lock, or stops waiting when the context ends. Lock may
// wait, fail at once or never return; if it succeeds when nobody waits any more,
// the lock is given back.
func (v vault) lock(ctx context.Context) (unlock func(), err error) {
	if v.stuck.Load() >= maxStuck {
		return nil, errStuck
	}
	var settled atomic.Bool // exactly one side deals with a lock that is granted
	answer := make(chan error, 1)
	v.stuck.Add(1)
	go func() {
		defer v.stuck.Add(-1)
		err := v.storage.Lock(ctx, lockName)
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
	case <-ctx.Done():
		if settled.CompareAndSwap(false, true) {
			return nil, fmt.Errorf("waiting for the lock %s: %w", lockName, ctx.Err())
		}
		err = <-answer
	}
	if err != nil {
		return nil, fmt.Errorf("taking the lock %s: %w", lockName, err)
	}
	return func() { v.unlock(ctx) }, nil
}

// unlock is done even if the context has ended.
func (v vault) unlock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockLimit)
	defer cancel()
	_, _ = within(ctx, v.stuck, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, v.storage.Unlock(ctx, lockName)
	})
}
