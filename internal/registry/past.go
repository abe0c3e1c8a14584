package registry

import "slices"

// past is what this node saw happen to the records, the latest last. It is needed
// when storage shows a revision that lacks something of it: two writers may hold the
// lock at once, a write may come late, a storage may come back with an older state.
// Any node that saw what was acknowledged then puts it into the next revision again.
type past[R any] struct {
	base  string // the id of the revision before the first step; empty: none was stored
	steps []step[R]
	size  int // changes in all steps
}

// step is what a revision changed.
type step[R any] struct {
	id      string
	changes []Changed[R]
}

// Bounds of a past. Where it does not reach back far enough an operator decides.
const (
	maxSteps   = historySize
	maxChanges = 1 << 17
)

func (p *past[R]) add(id string, changes []Changed[R]) {
	if n := len(p.steps); n > 0 && p.steps[n-1].id == id {
		p.steps[n-1].changes = append(p.steps[n-1].changes, changes...) // damaged records came back
	} else {
		p.steps = append(p.steps, step[R]{id, changes})
	}
	p.size += len(changes)
	for len(p.steps) > 1 && (len(p.steps) > maxSteps || p.size > maxChanges) {
		p.base, p.size = p.steps[0].id, p.size-len(p.steps[0].changes)
		p.steps = slices.Delete(p.steps, 0, 1)
	}
}

// since are the steps that the revision was made without. It reports false if the
// past does not reach back to where the two parted.
func (p *past[R]) since(rev *revision) ([]step[R], bool) {
	for i, s := range slices.Backward(p.steps) {
		if rev.follows(s.id) {
			return p.steps[i+1:], true
		}
	}
	return p.steps, p.base != "" && rev.follows(p.base)
}

// remake puts what was changed in the steps into the work, unless somebody changed
// the record since.
func (w *Work[K, R]) remake(steps []step[R]) {
	for _, s := range steps {
		for _, c := range s.changes {
			key := w.kind.Key(c.Record())
			if w.kind.wants(c, w.Get(key)) {
				_ = w.set(key, c.After) // refused only while the record is damaged
			}
		}
	}
}

// wants reports whether the change still makes sense where the record is now the one
// given. Of two changes in one second the one that restricts counts.
func (k *Kind[K, R]) wants(c Changed[R], now *R) bool {
	switch {
	case now == nil:
		return c.Before == nil && c.After != nil // deleted meanwhile, unless it was new
	case c.After == nil:
		return k.Updated(now) <= k.Updated(c.Before)
	case k.Updated(now) == k.Updated(c.After) && k.Restricts(now) && !k.Restricts(c.After):
		return false
	}
	return k.Updated(now) <= k.Updated(c.After) && !k.Equal(now, c.After)
}

// everything is the step that made all records, of a state that nobody saw come to be.
func (s *Snapshot[K, R]) everything() []step[R] {
	all := step[R]{}
	for _, r := range s.List(nil, nil, 0) {
		all.changes = append(all.changes, Changed[R]{After: r})
	}
	return []step[R]{all}
}
