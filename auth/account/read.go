package account

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

var errPast = errors.New("storage shows a revision of the past")

// staleLimit is how long a revision of the past is taken for a stale answer of
// the storage before it is believed, as after a backup was restored.
const staleLimit = 30 * time.Second

// staleLimitOwn is that where changes of this node are missing: they are then
// made again.
const staleLimitOwn = 2 * time.Second

// pull brings what this node knows to what storage holds. It reports false if
// storage is behind what is known.
func (k *keeper) pull() (current bool, err error) {
	found, err := k.readHead()
	if err != nil {
		return false, err
	}
	switch {
	case found.rev == nil:
		k.markLoaded()
	case k.head != nil && k.head.ID == found.rev.ID:
		k.staleAt = time.Time{}
		if len(k.damaged) > 0 && !time.Now().Before(k.recheckAt) {
			found, err = k.adopt(found)
		}
	case found.fromCopy && k.head.follows(found.rev.ID):
		// The copy was not written yet when the record was lost. This node knows
		// what the record held.
	case k.inPast(found.rev):
		return false, nil
	default:
		found, err = k.adopt(found)
	}
	if err != nil {
		return false, err
	}
	k.raw, k.read, k.mend = found.raw, found.rev, found.fromCopy
	k.r.synced.Store(time.Now().UnixNano())
	return true, nil
}

// inPast reports whether the revision is older than what is known and may be no
// more than a stale answer. A disabled account must not come back by one.
func (k *keeper) inPast(rev *revision) bool {
	if k.head == nil || !k.head.follows(rev.ID) {
		k.staleAt = time.Time{}
		return false
	}
	if k.staleAt.IsZero() {
		k.staleAt = time.Now()
	}
	limit := staleLimit
	if k.forgotten(rev) {
		limit = staleLimitOwn
	}
	return time.Since(k.staleAt) < limit
}

// markLoaded is for the first time that it is known what is stored.
func (k *keeper) markLoaded() {
	if k.r.loaded.CompareAndSwap(false, true) {
		k.lapsed = k.r.now()
		close(k.r.ready)
		k.r.note(Event{Kind: Loaded})
	}
}

// adopt loads the shards that a revision names anew, and makes it what is known.
// It returns what was adopted, which may be newer.
func (k *keeper) adopt(found reading) (reading, error) {
	next := k.r.current.Load()
	for try := 0; ; try++ {
		got, lost, err := k.fetch(found.rev, next)
		next = got // also what was had of a revision that was replaced meanwhile
		if err != nil {
			return found, err
		}
		if len(lost) == 0 || try == 3 {
			k.publish(found.rev, next, lost)
			return found, nil
		}
		// Perhaps the records were replaced, or the storage went away, meanwhile.
		if err := k.pause(try); err != nil {
			return found, err
		}
		if found, err = k.readHead(); err != nil {
			return found, err
		}
		if found.rev == nil {
			return found, errGone
		}
	}
}

// fetch loads what the revision names and now does not hold. lost tells which
// records cannot be used; their shards stay as they are.
func (k *keeper) fetch(rev *revision, now *snapshot) (next *snapshot, lost map[int]error, err error) {
	fresh := *now
	var wanted []int
	for i, digest := range rev.digests {
		if digest != now.shards[i].digest() {
			wanted = append(wanted, i)
		}
	}
	failures := make([]error, shardCount)
	err = each(len(wanted), func(n int) error {
		i := wanted[n]
		s, err := k.h.loadShard(i, rev.digests[i], now.shards[i])
		if errors.Is(err, errNoAnswer) || errors.Is(err, errStuck) || k.h.ctx.Err() != nil {
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

// loadShard reads the record; what stayed the same is shared with old.
func (h *hosting) loadShard(i int, digest string, old *shard) (*shard, error) {
	if digest == "" {
		return nil, nil
	}
	record, err := h.load(shardKey(i, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it is gone: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	accounts, from, err := parseShard(i, record)
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if from.Digest != digest {
		return nil, errors.New("it is damaged: it holds the content of another record")
	}
	share(accounts, old)
	return newShard(accounts, from), nil
}

// publish makes next what is known, as of the revision.
func (k *keeper) publish(rev *revision, next *snapshot, lost map[int]error) {
	old := k.r.current.Load()
	first := !k.r.loaded.Load()
	if next.shards != old.shards {
		next.version = storedVersions.Add(1)
	}
	k.r.current.Store(next)
	k.head, k.staleAt = rev, time.Time{}
	var changed []Changed
	for i := range next.shards {
		if !first && old.shards[i] != next.shards[i] {
			changed = append(changed, difference(old.shards[i], next.shards[i])...)
		}
	}
	k.noteDamage(rev, lost)
	k.markLoaded()
	if len(changed) > 0 {
		k.r.note(Event{Kind: Updated, Changes: changed})
	}
}

// noteDamage remembers which shards' records cannot be used, and reports each
// once.
func (k *keeper) noteDamage(rev *revision, lost map[int]error) {
	now := map[int]string{}
	for i, err := range lost {
		now[i] = shardKey(i, rev.digests[i])
		k.damage(now[i], err)
	}
	for i, record := range k.damaged {
		if now[i] != record {
			k.mended(record)
		}
	}
	k.damaged, k.recheckAt = now, time.Now().Add(10*k.h.host.Refresh)
}

func (k *keeper) damage(record string, why error) {
	if !k.said[record] {
		k.said[record] = true
		k.r.note(Event{Kind: Damaged, Record: record, Err: fmt.Errorf("%s: %w", record, why)})
	}
}

func (k *keeper) mended(record string) {
	if k.said[record] {
		delete(k.said, record)
		k.r.note(Event{Kind: Mended, Record: record})
	}
}

// digest names the record of a shard that may be nil.
func (s *shard) digest() string {
	if s == nil {
		return ""
	}
	return s.origin.Digest
}
