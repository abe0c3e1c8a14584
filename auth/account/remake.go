package account

import (
	"slices"
	"time"
)

// The lock of a storage may be held by two writers at once: it expires under a
// process that stands still, and some storages do not guard it well. Then one
// may overwrite the revision of the other. The one that lost its change notices
// by the history in the new revision, and makes the change again.

const (
	recentFor = 10 * time.Minute // how long a change is watched
	maxRecent = historySize
)

// acknowledged is a change that this node wrote.
type acknowledged struct {
	seq     uint64
	id      string
	at      time.Time
	changes []Changed
}

// acknowledge makes the record of what the revision changes.
func acknowledge(w *work, rev *revision) acknowledged {
	a := acknowledged{seq: rev.Seq, id: rev.ID, at: time.Now()}
	for key, after := range w.changed {
		a.changes = append(a.changes, Changed{Before: w.base.find(key), After: after})
	}
	return a
}

// remember keeps what was written, to watch over it. rev is the revision of now.
func (k *keeper) remember(fresh acknowledged, rev *revision) {
	if k.forgotten(rev) {
		k.r.note(Event{Kind: Overwritten})
	}
	k.recent = slices.DeleteFunc(k.recent, func(a acknowledged) bool {
		// What the revision does not follow was just made again in it.
		return a.id == fresh.id || !rev.follows(a.id) || time.Since(a.at) > recentFor
	})
	if k.recent = append(k.recent, fresh); len(k.recent) > maxRecent {
		k.recent = k.recent[1:]
	}
}

// overwritten reports whether the current revision misses changes of this node.
func (k *keeper) overwritten() bool { return k.head != nil && k.forgotten(k.head) }

func (k *keeper) forgotten(rev *revision) bool {
	return slices.ContainsFunc(k.recent, func(a acknowledged) bool { return rev.forgot(a.seq, a.id) })
}

// remake puts changes that were overwritten into the work, unless somebody
// changed the account since.
func (k *keeper) remake(w *work) {
	if k.head == nil {
		return
	}
	for _, a := range k.recent {
		if !k.head.forgot(a.seq, a.id) {
			continue
		}
		for _, c := range a.changes {
			if now := w.get(c.Key()); c.wanted(now) {
				_ = w.set(c.Key(), c.After) // refused only while the record is damaged
			}
		}
	}
}

// wanted reports whether the change still makes sense where the account is now
// the one given.
func (c Changed) wanted(now *Account) bool {
	switch {
	case now == nil:
		return c.Before == nil && c.After != nil // deleted meanwhile, unless it was new
	case c.After == nil:
		return now.updated <= c.Before.updated
	}
	return now.updated <= c.After.updated && !now.equal(c.After)
}
