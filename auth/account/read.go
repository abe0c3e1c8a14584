package account

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

var errPast = errors.New("storage shows a revision of the past")

// staleLimit is how long a revision of the past is taken for a stale answer of
// the storage. Then what is known here is written again.
const staleLimit = 2 * time.Second

// sight is what storage shows beside what is known here.
type sight uint8

const (
	// current: the same, or what is known now.
	current sight = iota
	// stale: a state of the past, perhaps for a moment only.
	stale
	// older: that, for longer than answers are stale.
	older
	// forked: a state that was made without all that is known here; see keeper.fork.
	forked
)

// pull brings what this node knows to what storage holds, if that holds all that
// is known here. Nothing else is ever adopted: what was switched off would come
// back.
func (k *keeper) pull() (sight, error) {
	found, err := k.readHead()
	if err != nil {
		return current, err
	}
	k.r.beginReading()
	k.raw, k.read, k.mend = found.raw, found.rev, found.fromCopy
	saw, err := k.judge(found)
	if saw != forked {
		k.fork = nil
	}
	if saw != stale && saw != older {
		k.staleAt = time.Time{}
	}
	if saw == current && err == nil {
		k.r.synced.Store(time.Now().UnixNano())
	}
	return saw, err
}

func (k *keeper) judge(found reading) (sight, error) {
	switch {
	case found.rev == nil:
		k.markLoaded()
		return current, nil
	case k.head != nil && k.head.ID == found.rev.ID:
		if len(k.damaged) == 0 || time.Now().Before(k.recheckAt) {
			return current, nil
		}
		return current, k.adopt(found)
	case k.head == nil || found.rev.contains(k.head):
		return current, k.adopt(found)
	case !k.head.contains(found.rev):
		return k.weigh(found)
	case found.fromCopy:
		// The copy was not written yet when the record was lost. This node knows
		// what the record held.
		return current, nil
	}
	if k.staleAt.IsZero() {
		k.staleAt = time.Now()
	}
	if time.Since(k.staleAt) < staleLimit {
		return stale, nil
	}
	return older, nil
}

// diverged is the error of a revision that has nothing to do with what is known.
func (k *keeper) diverged(rev *revision) error {
	return fmt.Errorf("%w: there revision %d, %s; here %d, %s", ErrDiverged, rev.Seq, rev.ID, k.head.Seq, k.head.ID)
}

// markLoaded is for the first time that it is known what is stored.
func (k *keeper) markLoaded() {
	if k.r.loaded.CompareAndSwap(false, true) {
		k.lapsed = k.r.now()
		close(k.r.ready)
		k.r.note(Event{Kind: Loaded})
	}
}

// maxMoves bounds how often a revision is looked for whose records stay, while
// another node writes one after the other.
const maxMoves = 20

// adopt loads the shards that a revision names anew, and makes it what is known.
func (k *keeper) adopt(found reading) error {
	next := k.r.current.Load()
	for try, moved := 0, 0; ; try++ {
		got, lost, err := fetch(k.h, found.rev, next)
		next = got // also what was had of a revision that was replaced meanwhile
		if err != nil {
			return err
		}
		if len(lost) == 0 || try == 3 {
			k.publish(found.rev, next, lost)
			return nil
		}
		// Perhaps the records were replaced, or the storage went away, meanwhile.
		if err := k.pause(try); err != nil {
			return err
		}
		again, err := k.readHead()
		switch {
		case err != nil:
			return err
		case again.rev == nil:
			return errGone
		case k.head != nil && !again.rev.contains(k.head):
			return errPast
		case again.rev.ID != found.rev.ID && moved < maxMoves:
			try, moved = -1, moved+1
		}
		found = again
		k.raw, k.read, k.mend = found.raw, found.rev, found.fromCopy
	}
}

// fetch loads what the revision names and now does not hold. lost tells which
// records cannot be used; their shards stay as they are.
func fetch(h *lease, rev *revision, now *snapshot) (next *snapshot, lost map[int]error, err error) {
	fresh := *now
	if rev == nil {
		return &snapshot{}, nil, nil
	}
	var wanted []int
	for i, digest := range rev.digests {
		if digest != now.shards[i].digest() {
			wanted = append(wanted, i)
		}
	}
	failures := make([]error, shardCount)
	err = storage.Each(len(wanted), parallel, func(n int) error {
		i := wanted[n]
		s, err := loadShard(h, i, rev.digests[i], now.shards[i])
		if errors.Is(err, storage.ErrNoAnswer) || errors.Is(err, storage.ErrStuck) || h.Context().Err() != nil {
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
func loadShard(h *lease, i int, digest string, old *shard) (*shard, error) {
	if digest == "" {
		return nil, nil
	}
	record, err := h.Load(h.Context(), shardKey(i, digest))
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
	k.head = rev
	k.r.head.Store(rev)
	var changed []Changed
	for i := range next.shards {
		if !first && old.shards[i] != next.shards[i] {
			changed = append(changed, difference(old.shards[i], next.shards[i])...)
		}
	}
	if first {
		k.past.begin(rev.ID)
	} else {
		k.past.add(rev.ID, changed)
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
	k.damaged, k.recheckAt = now, time.Now().Add(10*k.h.Host.Refresh)
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
