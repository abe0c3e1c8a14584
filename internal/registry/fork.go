package registry

import (
	"errors"
	"fmt"
	"time"
)

// A fork is a state of storage that was made without all that this node knows: two
// writers held the lock at once, a write came late, or storage went back in time and
// another node went on from there. The next revision joins both.

var errUnread = errors.New("storage shows a state that lacks some of what this node knows, and its record of that cannot be read")

// weigh deals with a revision that neither holds what is known here nor is held by
// it. If it lacks nothing but the ids it is adopted; else the two must be joined.
func (l *loader[K, R]) weigh(found reading) (sight, error) {
	steps, ok := l.past.since(found.rev)
	if !ok && l.r.kind.Unites {
		all := step[R]{} // made all records, of a state that nobody saw come to be
		for _, r := range l.r.current.Load().List(nil, nil, 0) {
			all.changes = append(all.changes, Changed[R]{After: r})
		}
		steps, ok = []step[R]{all}, true
	}
	if !ok {
		return current, fmt.Errorf("%w: there revision %d, %s; here %d, %s",
			l.r.kind.Diverged, found.rev.Seq, found.rev.ID, l.head.Seq, l.head.ID)
	}
	if l.fork == nil || l.fork.rev.ID != found.rev.ID || len(l.fork.blocked) > 0 {
		base, lost, err := l.r.kind.fetch(l.lease, found.rev, l.r.current.Load())
		if err != nil {
			return current, err
		}
		l.fork = &basis[K, R]{rev: found.rev, also: l.head, snapshot: base, blocked: map[int]string{}, steps: steps, due: true}
		for i := range lost {
			l.fork.blocked[i] = l.r.kind.shardKey(i, found.rev.digests[i])
		}
	}
	if err := l.awaitRecords(); err != nil {
		return current, err
	}
	w := newWork(l.r.kind, l.fork.snapshot, l.fork.blocked, steps)
	if len(w.changed) == 0 && len(l.fork.blocked) == 0 {
		l.publish(found.rev, l.fork.snapshot, nil)
		return current, nil
	}
	return forked, nil
}

// awaitRecords fails while the fork has a record that cannot be read and lacks a change
// known here: joined without it, the change would be lost. Usually it is a matter of
// moments, or until a node that knows the record writes it again. After that an operator
// decides, or what is known here counts if the kind unites.
func (l *loader[K, R]) awaitRecords() error {
	record := l.fork.unread(l.r.kind)
	if record == "" {
		l.unreadAt = time.Time{}
		return nil
	}
	if l.unreadAt.IsZero() {
		l.unreadAt = time.Now()
	}
	switch {
	case time.Since(l.unreadAt) < 2*healEvery*l.lease.Host.Refresh:
		return fmt.Errorf("%w: %s", errUnread, record)
	case l.r.kind.Unites:
		l.fork.all = true
		return nil
	}
	return fmt.Errorf("%w; %w: %s", l.r.kind.Diverged, errUnread, record)
}

// unread is a record of the basis that cannot be read, and that a step changes; empty:
// there is none.
func (b *basis[K, R]) unread(k *Kind[K, R]) string {
	for _, s := range b.steps {
		for _, c := range s.changes {
			if record := b.blocked[int(k.Hash(k.Key(c.Record()))>>56)]; record != "" {
				return record
			}
		}
	}
	return ""
}
