package account

import "slices"

// The revision record may come to be one that does not hold what this node knows:
// the lock of a storage may be held by two writers at once, a write may come late,
// a storage may return with an older state. What was acknowledged is then put into
// the next revision again, by any node that saw it.

// past is what this node saw happen to the accounts, the latest last.
type past struct {
	base  string // the id of the revision before the first step; empty: none was stored
	steps []step
	size  int // changes in all steps
}

// step is what a revision changed.
type step struct {
	id      string
	changes []Changed
}

// Bounds of a past. Where it does not reach back far enough an operator decides.
const (
	maxSteps   = historySize
	maxChanges = 1 << 17
)

func (p *past) begin(id string) { *p = past{base: id} }

func (p *past) add(id string, changes []Changed) {
	if n := len(p.steps); n > 0 && p.steps[n-1].id == id {
		p.steps[n-1].changes = append(p.steps[n-1].changes, changes...) // damaged records came back
	} else {
		p.steps = append(p.steps, step{id, changes})
	}
	p.size += len(changes)
	for len(p.steps) > 1 && (len(p.steps) > maxSteps || p.size > maxChanges) {
		p.base, p.size = p.steps[0].id, p.size-len(p.steps[0].changes)
		p.steps = slices.Delete(p.steps, 0, 1)
	}
}

// since are the steps that the revision was made without. It reports false if the
// past does not reach back to where the two have gone different ways.
func (p *past) since(rev *revision) ([]step, bool) {
	for i, s := range slices.Backward(p.steps) {
		if rev.follows(s.id) {
			return p.steps[i+1:], true
		}
	}
	return p.steps, p.base != "" && rev.follows(p.base)
}

// remake puts what was changed in the steps into the work, unless somebody changed
// the account since.
func (w *work) remake(steps []step) {
	for _, s := range steps {
		for _, c := range s.changes {
			if now := w.get(c.Key()); c.wanted(now) {
				_ = w.set(c.Key(), c.After) // refused only while the record is damaged
			}
		}
	}
}

// wanted reports whether the change still makes sense where the account is now
// the one given. Of two changes in one second the one that switches off counts.
func (c Changed) wanted(now *Account) bool {
	switch {
	case now == nil:
		return c.Before == nil && c.After != nil // deleted meanwhile, unless it was new
	case c.After == nil:
		return now.updated <= c.Before.updated
	case now.updated == c.After.updated && now.inactive() && !c.After.inactive():
		return false
	}
	return now.updated <= c.After.updated && !now.equal(c.After)
}

// fork is a revision that was made without all that is known here.
type fork struct {
	rev   *revision
	base  *snapshot // what it names
	lost  map[int]error
	steps []step // what it lacks
}

// blocked are the shards whose records cannot be used, with the record.
func (f *fork) blocked() map[int]string {
	blocked := map[int]string{}
	for i := range f.lost {
		blocked[i] = shardKey(i, f.rev.digests[i])
	}
	return blocked
}

// weigh deals with a revision that neither holds what is known here nor is held by
// it. If it lacks nothing but the ids it is adopted; else the two must be joined.
func (k *keeper) weigh(found reading) (sight, error) {
	steps, ok := k.past.since(found.rev)
	if !ok {
		return current, k.diverged(found.rev)
	}
	if k.fork == nil || k.fork.rev.ID != found.rev.ID || len(k.fork.lost) > 0 {
		base, lost, err := fetch(k.h, found.rev, k.r.current.Load())
		if err != nil {
			return current, err
		}
		k.fork = &fork{found.rev, base, lost, steps}
	}
	w := &work{base: k.fork.base, changed: map[Key]*Account{}, blocked: k.fork.blocked()}
	if w.remake(steps); len(w.changed) == 0 && len(k.fork.lost) == 0 {
		k.publish(found.rev, k.fork.base, nil)
		return current, nil
	}
	return forked, nil
}
