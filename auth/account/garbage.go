package account

import (
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

const (
	sweepEvery  = time.Hour
	maxCollects = 2 * shardCount // deletions at once, so that the lock is not held long
)

// sweep looks for records that nothing names, as a writer that died leaves them.
// The lock is held.
func (k *keeper) sweep() {
	if k.head == nil || time.Now().Before(k.sweepAt) {
		return
	}
	k.sweepAt = time.Now().Add(sweepEvery)
	keys, err := list(k.h)
	if err != nil {
		return // the next sweep will find them
	}
	for _, key := range keys {
		if _, known := k.garbage[key]; !known && shardKeyForm.MatchString(key) && !k.names(key) {
			k.garbage[key] = time.Now().Add(k.r.linger)
		}
	}
}

// names reports whether the current revision names the record.
func (k *keeper) names(key string) bool {
	for i, digest := range k.head.digests {
		if digest != "" && shardKey(i, digest) == key {
			return true
		}
	}
	return false
}

// garbageDue reports whether there is something to delete.
func (k *keeper) garbageDue() bool {
	for _, until := range k.garbage {
		if !time.Now().Before(until) {
			return true
		}
	}
	return false
}

// collect deletes records that nothing has named for a while: another node may
// still be reading those that were replaced, which takes about as long as writing
// those in their place, or be about to name new ones. The lock is held, and the
// revision just read.
func (k *keeper) collect() {
	if k.head == nil {
		return
	}
	var due []string
	for key, until := range k.garbage {
		if !time.Now().Before(until) && len(due) < maxCollects {
			due = append(due, key)
		}
	}
	due = slices.DeleteFunc(due, func(key string) bool {
		delete(k.garbage, key)
		return k.names(key)
	})
	_ = storage.Each(len(due), parallel, func(i int) error {
		_ = k.h.Delete(k.h.Context(), due[i]) // one that stays is found by a sweep
		return nil
	})
}
