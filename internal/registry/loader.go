package registry

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

var (
	errGone   = errors.New("the revision record can no longer be read: storage is down, or lost it")
	errOrphan = errors.New("storage holds records, but no revision record of them can be read")
	errOlder  = errors.New("storage shows an older revision")
)

// loader reads what storage holds, and publishes it as what is known. The keeper and
// its committer use it.
type loader[K comparable, R any] struct {
	r     *Registry[K, R]
	lease *storage.Lease[Host[R]] // in use; nil: there is none

	head      *revision       // of what is known; nil: nothing is stored yet
	past      past[R]         // what led to it
	shown     reading         // the last one
	fork      *basis[K, R]    // what storage shows, if that must be joined with what is known
	staleAt   time.Time       // since when storage shows an older revision; zero: it does not
	unreadAt  time.Time       // since when the fork has a record that is needed and cannot be read; zero: it has none
	damaged   map[int]string  // shards whose records cannot be used, with the record
	recheckAt time.Time       // when they are looked at again
	reported  map[string]bool // damaged records of which an event was sent
	endedTo   time.Time       // ends were reported up to here
}

// reading is what storage holds as the revision.
type reading struct {
	raw  []byte    // of the revision record; nil: it cannot be read
	rev  *revision // nil: nothing is stored yet
	mend bool      // the record is to be written anew: rev is that of the copy
}

// sight is what storage shows beside what is known here.
type sight uint8

const (
	// current: what is known.
	current sight = iota
	// stale: an older state, perhaps for a moment only.
	stale
	// older: that, for longer than answers are stale.
	older
	// forked: a state that was made without all that is known here; see loader.fork.
	forked
)

// staleLimit is how long an older revision is taken for a stale answer of the
// storage. After that, what is known here is written again.
const staleLimit = 2 * time.Second

// pull brings what this node knows to what storage holds, if that holds all that
// is known here. Nothing else is ever adopted: who was switched off would be
// let in again.
func (l *loader[K, R]) pull() (sight, error) {
	found, err := l.read()
	if err != nil {
		return current, err
	}
	l.r.beginReading()
	l.shown = found
	saw, err := l.judge(found)
	if saw != forked {
		l.fork = nil
	}
	if saw != forked && err == nil {
		l.unreadAt = time.Time{}
	}
	if saw != stale && saw != older {
		l.staleAt = time.Time{}
	}
	if saw == current && err == nil {
		l.r.synced.Store(time.Now().UnixNano())
	}
	return saw, err
}

// read reads the revision record, or its copy if that is damaged or gone.
func (l *loader[K, R]) read() (reading, error) {
	found, why := l.readRecord()
	if why == nil && (l.head == nil || found.rev.isUnwritten() && found.rev.ID != l.head.ID) {
		if rev, err := l.readCopy(); err == nil && rev.ID != found.rev.ID {
			l.preferCopy(&found, rev)
		}
		return found, nil
	}
	if why == nil || isNoAnswer(l.lease, why) {
		return found, why
	}
	if rev, err := l.readCopy(); err == nil {
		// The storage answers. If the record still cannot be had, it is lost.
		if found, why = l.readRecord(); why != nil {
			l.reportRecord(l.r.kind.Folder+revisionFile, why)
			found.rev, found.mend = rev, true
		}
		return found, nil
	}
	return found, l.confirmNone(found, why)
}

// preferCopy takes the copy for the record where it tells more. Where it follows the
// record, that is older than it was: a storage went back in time with one of them.
// Where the record is of a registry that was begun and never written to, that may be
// a write that failed and happened all the same, after another node had begun one.
func (l *loader[K, R]) preferCopy(found *reading, rev *revision) {
	follows := rev.contains(found.rev)
	if !follows && !found.rev.isUnwritten() {
		return
	}
	if follows {
		l.r.note(Event[R]{Kind: Older})
	}
	found.rev, found.mend = rev, true
}

// readRecord reads the revision record itself. A storage that is not atomic
// may show half of one for a moment, so a damaged one is looked at again.
func (l *loader[K, R]) readRecord() (found reading, why error) {
	for try := range 3 {
		raw, err := l.lease.Load(l.lease.Context(), l.r.kind.Folder+revisionFile)
		if err != nil {
			return reading{}, err
		}
		if l.shown.rev != nil && !l.shown.mend && bytes.Equal(raw, l.shown.raw) {
			return reading{raw: raw, rev: l.shown.rev}, nil
		}
		rev, damage := parseRevision(raw)
		if damage == nil {
			l.reportRecord(l.r.kind.Folder+revisionFile, nil)
			return reading{raw: raw, rev: rev}, nil
		}
		found, why = reading{raw: raw}, fmt.Errorf("%w: %w", ErrDamaged, damage)
		if err := l.pause(try); err != nil {
			return reading{}, err
		}
	}
	return found, why
}

func (l *loader[K, R]) readCopy() (*revision, error) {
	raw, err := l.lease.Load(l.lease.Context(), l.r.kind.Folder+copyFile)
	if err != nil {
		return nil, err
	}
	return parseRevision(raw)
}

// confirmNone returns nil only if nothing is stored yet. That a record is not
// found says little: some storages answer so while they are down.
func (l *loader[K, R]) confirmNone(found reading, why error) error {
	keys, err := l.r.kind.list(l.lease.Context(), l.lease.Client)
	switch {
	case err != nil && l.head != nil:
		return fmt.Errorf("%w; if it stays so: %s (%w, and %w)", errGone, l.r.kind.Repair, why, err)
	case err != nil:
		return fmt.Errorf("%w, and %w", why, err)
	case l.head != nil && len(keys) == 0:
		return fmt.Errorf("%w (%w)", l.r.kind.Emptied, why)
	case l.head != nil:
		return fmt.Errorf("%w; if it stays so: %s (%w)", errGone, l.r.kind.Repair, why)
	}
	for _, key := range keys {
		if l.r.kind.isShardKey(key) || key == l.r.kind.Folder+revisionFile && found.raw == nil {
			return fmt.Errorf("%w (%w)", errOrphan, why)
		}
	}
	return nil
}

// pause waits a moment, longer at each try; it fails when the lease has ended.
func (l *loader[K, R]) pause(try int) error {
	return storage.Pause(l.lease.Context(), 20*time.Millisecond<<try)
}

// unchanged makes sure that nobody replaced the revision record meanwhile.
func (l *loader[K, R]) unchanged() error {
	raw, err := l.lease.Load(l.lease.Context(), l.r.kind.Folder+revisionFile)
	switch {
	case l.shown.raw == nil && err != nil:
		return nil // it was not to be had before either, but its copy was
	case err != nil:
		return fmt.Errorf("comparing the revision record: %w", err)
	case l.shown.raw == nil || !bytes.Equal(raw, l.shown.raw):
		return errRaced
	}
	return nil
}

// judge compares a revision with what is known, and adopts it if it may.
func (l *loader[K, R]) judge(found reading) (sight, error) {
	switch {
	case found.rev == nil:
		l.markLoaded()
		return current, nil
	case l.head != nil && l.head.ID == found.rev.ID:
		if len(l.damaged) == 0 || time.Now().Before(l.recheckAt) {
			return current, nil
		}
		return current, l.adopt(found)
	case l.head == nil || l.head.isUnwritten() || found.rev.contains(l.head):
		return current, l.adopt(found) // it lacks nothing that is known here
	case !l.head.contains(found.rev):
		return l.weigh(found)
	case found.mend:
		// The copy was not written yet when the record was lost. This node knows
		// what the record held.
		return current, nil
	}
	if l.staleAt.IsZero() {
		l.staleAt = time.Now()
	}
	if time.Since(l.staleAt) < staleLimit {
		return stale, nil
	}
	return older, nil
}

// maxMoves bounds how often a revision is looked for whose records stay, while
// another node writes one after the other.
const maxMoves = 20

// adopt loads the shards that a revision names anew, and makes it what is known.
func (l *loader[K, R]) adopt(found reading) error {
	next := l.r.current.Load()
	for try, moved := 0, 0; ; try++ {
		got, lost, err := l.r.kind.fetch(l.lease, found.rev, next)
		next = got // also what was had of a revision that was replaced meanwhile
		if err != nil {
			return err
		}
		if len(lost) == 0 || try == 3 {
			l.publish(found.rev, next, lost)
			return nil
		}
		// Perhaps the records were replaced, or the storage went away, meanwhile.
		if err := l.pause(try); err != nil {
			return err
		}
		again, err := l.read()
		switch {
		case err != nil:
			return err
		case again.rev == nil:
			return errGone
		case l.head != nil && !again.rev.contains(l.head):
			return errOlder
		case again.rev.ID != found.rev.ID && moved < maxMoves:
			try, moved = -1, moved+1
		}
		found, l.shown = again, again
	}
}

// publish makes next what is known, as of the revision. lost are its records that
// cannot be used.
func (l *loader[K, R]) publish(rev *revision, next *Snapshot[K, R], lost map[int]error) {
	old := l.r.current.Load()
	first := !l.r.loaded.Load()
	if next.shards != old.shards {
		next.version = versions.Add(1)
	}
	l.r.current.Store(next)
	l.head = rev
	l.r.head.Store(rev)
	var changed []Changed[R]
	for i := range next.shards {
		if !first && old.shards[i] != next.shards[i] {
			changed = append(changed, l.r.kind.difference(old.shards[i], next.shards[i])...)
		}
	}
	if first {
		l.past = past[R]{base: rev.ID}
	} else {
		l.past.add(rev.ID, changed)
	}
	damaged := map[int]string{}
	for i, err := range lost {
		damaged[i] = l.r.kind.shardKey(i, rev.digests[i])
		l.reportRecord(damaged[i], err)
	}
	for i, record := range l.damaged {
		if damaged[i] != record {
			l.reportRecord(record, nil)
		}
	}
	l.damaged, l.recheckAt = damaged, time.Now().Add(10*l.lease.Host.Refresh)
	l.markLoaded()
	if len(changed) > 0 {
		l.r.note(Event[R]{Kind: Updated, Changes: changed})
	}
}

// markLoaded ends the first reading.
func (l *loader[K, R]) markLoaded() {
	if l.r.loaded.CompareAndSwap(false, true) {
		l.endedTo = l.r.now()
		close(l.r.ready)
		l.r.note(Event[R]{Kind: Loaded})
	}
}

// reportRecord reports each damaged record once, and once that it is well again: why is
// nil then.
func (l *loader[K, R]) reportRecord(record string, why error) {
	switch {
	case why != nil && !l.reported[record]:
		l.reported[record] = true
		l.r.note(Event[R]{Kind: Damaged, Record: record, Err: fmt.Errorf("%s: %w", record, why)})
	case why == nil && l.reported[record]:
		delete(l.reported, record)
		l.r.note(Event[R]{Kind: Mended, Record: record})
	}
}

// reportEnded reports records whose time is over since it last did. They end on a
// second, so that it has something to do once a second, however often a turn is.
func (l *loader[K, R]) reportEnded() {
	now := l.r.now()
	if now.Unix() == l.endedTo.Unix() {
		return
	}
	var changed []Changed[R]
	for _, s := range l.r.current.Load().shards {
		ended := s.ended(now)
		for _, r := range ended[min(len(s.ended(l.endedTo)), len(ended)):] {
			changed = append(changed, Changed[R]{Before: r, After: r})
		}
	}
	l.endedTo = now
	if len(changed) > 0 {
		l.r.note(Event[R]{Kind: Ended, Changes: changed})
	}
}
