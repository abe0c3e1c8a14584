package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

const parallel = 8 // calls of storage at once

// list returns the keys of the folder that are ours: a listing may hold temporary
// files. None is no error.
func (k *Kind[K, R]) list(ctx context.Context, c *storage.Client) ([]string, error) {
	keys, err := c.List(ctx, k.Folder)
	return slices.DeleteFunc(keys, func(key string) bool {
		return key != k.Folder+revisionFile && key != k.Folder+copyFile && !k.isShardKey(key)
	}), err
}

// fetch loads what the revision names and now does not hold. lost tells which
// records cannot be used; their shards stay as they are.
func (k *Kind[K, R]) fetch(h *storage.Lease[Host[R]], rev *revision, now *Snapshot[K, R]) (next *Snapshot[K, R], lost map[int]error, err error) {
	if rev == nil {
		return &Snapshot[K, R]{kind: k}, nil, nil
	}
	fresh := *now
	var wanted []int
	for i, digest := range rev.digests {
		if digest != now.shards[i].digest() {
			wanted = append(wanted, i)
		}
	}
	failures := make([]error, shardCount)
	err = storage.Each(len(wanted), parallel, func(n int) error {
		i := wanted[n]
		s, err := k.load(h, i, rev.digests[i], now.shards[i])
		if isNoAnswer(h, err) {
			return err
		}
		if failures[i] = err; err == nil {
			fresh.shards[i] = s
		}
		return nil
	})
	lost = map[int]error{}
	for i, err := range failures {
		if err != nil {
			lost[i] = err
		}
	}
	return &fresh, lost, err
}

// load reads the record of a shard; what stayed the same is shared with old.
func (k *Kind[K, R]) load(h *storage.Lease[Host[R]], i int, digest string, old *shard[K, R]) (*shard[K, R], error) {
	if digest == "" {
		return nil, nil
	}
	record, err := h.Load(h.Context(), k.shardKey(i, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it is gone: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	read, err := k.parse(i, record, old)
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if read.digest() != digest {
		return nil, errors.New("it is damaged: it holds the content of another record")
	}
	return read, nil
}

// isNoAnswer reports an error that says nothing about what storage holds.
func isNoAnswer[R any](h *storage.Lease[Host[R]], err error) bool {
	return errors.Is(err, storage.ErrNoAnswer) || errors.Is(err, storage.ErrStuck) || h.Context().Err() != nil
}

const (
	sweepEvery  = time.Hour
	maxCollects = 2 * shardCount // deletions at once, so that the lock is not held long
)

// collect deletes records that nothing has named for a while: another node may
// still be reading those that were replaced, which takes about as long as writing
// those in their place, or be about to name new ones. Now and then it looks for
// records that nothing names, as a writer that died leaves them. The lock is held, and
// the revision was just read.
func (c *committer[K, R]) collect() {
	named := make(map[string]bool, shardCount)
	for i, digest := range c.head.digests {
		named[c.r.kind.shardKey(i, digest)] = true
	}
	if !time.Now().Before(c.sweepAt) {
		c.sweepAt = time.Now().Add(sweepEvery)
		keys, _ := c.r.kind.list(c.lease.Context(), c.lease.Client) // what a failure hides is found the next time
		for _, key := range keys {
			if _, known := c.unnamed[key]; !known && c.r.kind.isShardKey(key) && !named[key] {
				c.unnamed[key] = time.Now().Add(c.r.linger)
			}
		}
	}
	var due []string
	for key, until := range c.unnamed {
		if !time.Now().Before(until) && len(due) < maxCollects {
			due = append(due, key)
		}
	}
	due = slices.DeleteFunc(due, func(key string) bool {
		delete(c.unnamed, key)
		return named[key]
	})
	_ = c.lease.Each(len(due), func(i int) error {
		_ = c.lease.Delete(c.lease.Context(), due[i]) // one that stays is found again
		return nil
	})
}

// found makes the first revision, without records, so that there is one from
// the first record on. It is sure that nothing was there: a record of its own
// can be read before and after the revision cannot.
//
// Two nodes that do so at once, by a lock that both hold, would begin two
// registries, and none of them gives up what it knows. So it waits, for longer
// than another one may have taken to write since it found nothing, and looks
// which of the two is there.
func (c *committer[K, R]) found() error {
	begun := time.Now()
	err := c.probe(func() error {
		found, err := c.read()
		if err == nil && found.rev != nil {
			return errRaced
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.first == nil { // a try that failed may be written late, and must not be another registry then
		id := newRevisionID()
		c.first = &revision{Seq: 1, ID: id, Root: id}
	}
	ctx, rev := c.lease.Context(), c.first
	record := rev.encode()
	if err := c.lease.StoreChecked(ctx, c.r.kind.Folder+revisionFile, record); err != nil {
		return err
	}
	if err := storage.Pause(ctx, max(2*time.Since(begun), 50*time.Millisecond)); err != nil {
		return err
	}
	if err := c.lease.ReadBack(ctx, c.r.kind.Folder+revisionFile, record); err != nil {
		return fmt.Errorf("%w: %w", errRaced, err)
	}
	if err := c.lease.StoreChecked(ctx, c.r.kind.Folder+copyFile, record); err != nil {
		return err
	}
	c.shown = reading{raw: record, rev: rev}
	c.publish(rev, c.r.current.Load(), nil)
	return nil
}

// probe looks for what is perhaps not there while a record of its own can be read
// before and after: a storage that is down may say "not found" of everything.
func (c *committer[K, R]) probe(look func() error) error {
	ctx := c.lease.Context()
	if err := c.lease.StoreChecked(ctx, c.r.kind.Folder+probeFile, []byte("ok\n")); err != nil {
		return err
	}
	if err := look(); err != nil {
		return err
	}
	if _, err := c.lease.Load(ctx, c.r.kind.Folder+probeFile); err != nil {
		return err
	}
	_ = c.lease.Delete(ctx, c.r.kind.Folder+probeFile) // of no use any more, and no harm
	return nil
}
