package registry

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"
)

// revision is the record that names the current record of every shard.
type revision struct {
	Seq uint64 `json:"seq"`
	// ID is random, so that two writers never make the same revision.
	ID string `json:"id"`
	// Root is the id of the first revision, so that a registry that is begun anew can
	// be distinguished from this one. It is empty in what older versions wrote.
	Root string `json:"root,omitempty"`
	// History holds the ids before this one, the latest first. It tells a node
	// whether what it knows is in this revision.
	History []string `json:"history"`
	// Landmarks are the ids of some revisions before those, about every 64th, the
	// latest first: for a node that last looked before the history begins.
	Landmarks []string `json:"landmarks,omitempty"`
	// Shards maps the name of each shard that has a record to its digest.
	Shards map[string]string `json:"shards"`

	digests [shardCount]string // Shards by number
}

const (
	historySize  = 64
	maxLandmarks = 64
)

// isUnwritten reports whether nothing was written since the registry began.
func (v *revision) isUnwritten() bool { return v.Seq == 1 && v.digests == [shardCount]string{} }

func newRevisionID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// next is the revision that follows, with the same records.
func (v *revision) next() *revision {
	n := &revision{Seq: v.Seq + 1, ID: newRevisionID(), Root: cmp.Or(v.Root, v.ID), digests: v.digests}
	n.History = append([]string{v.ID}, v.History...)
	n.Landmarks = v.Landmarks
	return n.trim(v.Seq)
}

// join is the revision that follows both, with this one's records. Its number leaves
// room for all that it follows: as in any other revision, those whose numbers are at
// most 64 lower are in the history.
func (v *revision) join(other *revision) *revision {
	n := v.next()
	theirs := slices.DeleteFunc(append([]string{other.ID}, other.History...), v.follows)
	ours := n.History
	n.History = make([]string, 0, len(ours)+len(theirs))
	for i := range max(len(ours), len(theirs)) {
		n.History = append(append(n.History, ours[min(i, len(ours)):min(i+1, len(ours))]...), theirs[min(i, len(theirs)):min(i+1, len(theirs))]...)
	}
	for _, id := range append([]string{other.landmark()}, other.Landmarks...) {
		if !slices.Contains(n.Landmarks, id) {
			n.Landmarks = append(slices.Clip(n.Landmarks), id)
		}
	}
	n.Seq = max(v.Seq, other.Seq) + 1 + uint64(len(theirs))
	return n.trim(v.Seq)
}

// trim keeps history and landmarks within their bounds, and makes the revision a
// landmark if the time for one came after the revision with the number since.
func (v *revision) trim(since uint64) *revision {
	v.History = v.History[:min(len(v.History), historySize)]
	if v.Seq/historySize != since/historySize && !slices.Contains(v.Landmarks, v.ID) {
		v.Landmarks = append([]string{v.ID}, v.Landmarks...)
	}
	v.Landmarks = v.Landmarks[:min(len(v.Landmarks), maxLandmarks)]
	return v
}

// landmark is one that all later revisions hold, for thousands of them.
func (v *revision) landmark() string {
	if len(v.Landmarks) > 0 {
		return v.Landmarks[0]
	}
	return cmp.Or(v.Root, v.ID)
}

// follows reports whether the revision with that id is this one or, as far as the
// history reaches, before it.
func (v *revision) follows(id string) bool {
	return v != nil && (v.ID == id || slices.Contains(v.History, id))
}

// contains reports whether all that the other revision holds was known when this
// one was written.
func (v *revision) contains(other *revision) bool {
	if v.follows(other.ID) {
		return true
	}
	if v.Seq < other.Seq || v.Seq-other.Seq <= historySize {
		return false // it would be in the history
	}
	mark := other.landmark()
	return v.Root == mark || slices.Contains(v.Landmarks, mark) ||
		len(v.Landmarks) == maxLandmarks && v.Root == other.Root && v.Root != "" && v.Seq-other.Seq > (maxLandmarks-1)*historySize
}

func (v *revision) encode() []byte {
	v.Shards = map[string]string{}
	for i, d := range v.digests {
		if d != "" {
			v.Shards[shardName(i)] = d
		}
	}
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err) // only text and numbers
	}
	record, _ := seal("revision", append(body, '\n'))
	return record
}

var (
	digestForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
	idForm     = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

func parseRevision(record []byte) (*revision, error) {
	body, _, err := unseal("revision", record, maxRevision)
	if err != nil {
		return nil, err
	}
	v := &revision{}
	if err := json.Unmarshal(body, v, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("its content is not that of a revision")
	}
	if !idForm.MatchString(v.ID) || len(v.History) > historySize || len(v.Landmarks) > maxLandmarks {
		return nil, errors.New("its id or history has another form")
	}
	for name, digest := range v.Shards {
		i, err := hex.DecodeString(name)
		if err != nil || len(i) != 1 || shardName(int(i[0])) != name || !digestForm.MatchString(digest) {
			return nil, errors.New("it names a shard in another form")
		}
		v.digests[i[0]] = digest
	}
	return v, nil
}

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
