package revocation

import (
	"context"
	"errors"
	"time"
	"unique"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// Errors that callers tell apart; others are those of internal/registry.
var (
	// ErrNotFound: there is no revocation with that id.
	ErrNotFound = errors.New("resource not found")
	// ErrUnread: the revocations were not read from storage yet.
	ErrUnread = errors.New("the revocations have not been read from storage yet")
)

// kind is what revocations are to their registry.
var kind = registry.Kind[Key, Revocation]{
	Folder: "gatehouse/revocations", Lock: "gatehouse-revocations", Plural: "revocations",
	Repair: "restore it from a backup, or delete the folder gatehouse/revocations of the storage while a node runs, which writes again what it knows",

	Hash: func(k Key) uint64 { return xxhash.Sum64String(k.Name) }, // part of the stored format
	Key:  (*Revocation).Key, Is: (*Revocation).is, Compare: compare,
	Equal:   func(a, b *Revocation) bool { return *a == *b },
	ID:      func(r *Revocation) uuid.UUID { return r.Key().id() },
	Updated: func(r *Revocation) int64 { return r.IssuedBefore }, // the later moment refuses more
	Ends:    func(r *Revocation) int64 { return r.Expires },
	Leaves:  true, Unites: true,

	Append: appendLine,
	Reader: func() func([]byte) (*Revocation, error) {
		r := lineReader{known: map[string]unique.Handle[traits]{}}
		return r.read
	},
}

// Registry holds the revocations of one storage. Its methods are safe for concurrent
// use.
type Registry struct {
	*registry.Registry[Key, Revocation]
	now func() time.Time
}

// New makes a registry. It starts nothing.
func New(opts registry.Options) *Registry {
	r := &Registry{Registry: registry.New(kind, opts), now: opts.Now}
	if r.now == nil {
		r.now = time.Now
	}
	return r
}

// Find finds the revocation of that key; nil: there is none, or it is over. It takes
// no lock and allocates nothing.
func (r *Registry) Find(key Key) *Revocation {
	if found := r.Snapshot().Find(key); found != nil && !found.IsOver(r.now()) {
		return found
	}
	return nil
}

// IsEmpty reports whether nothing is revoked at all. Like Find it is for requests.
func (r *Registry) IsEmpty() bool { return r.Snapshot().Len() == 0 }

// Count is the number of revocations that are not over.
func (r *Registry) Count() int {
	s := r.Snapshot()
	return s.Len() - s.Ended(r.now())
}

// Query asks for revocations in their order: by name, and those of one name by id. The
// zero value asks for all that are not over.
type Query struct {
	// After: those after that name.
	After string
	// AfterID: those after the revocation of After with that id instead.
	AfterID string
	// Matches, if not nil: only those for which it is true.
	Matches func(*Revocation) bool
	// Limit is the greatest number. Zero: all.
	Limit int
}

// Page returns the revocations that are asked for, in order. It is never nil.
func (r *Registry) Page(q Query) []*Revocation {
	now := r.now()
	from := func(one *Revocation) bool {
		name := one.Name()
		return name > q.After || name == q.After && q.AfterID != "" && one.ID() > q.AfterID
	}
	if q.After == "" {
		from = nil
	}
	matches := func(one *Revocation) bool { return !one.IsOver(now) && (q.Matches == nil || q.Matches(one)) }
	return r.Snapshot().List(from, matches, q.Limit)
}

// Revoke revokes all that the drafts say, in one revision: it is durable, and in force
// on this node, when the error is nil. What is revoked already for as late a moment,
// and for as long, stays as it is; else the later moment and end count. A result is nil
// where no token of before that moment can be alive any more: nothing was to be done.
//
// The error is an [*InputError] if a draft is not valid, and nothing was done then;
// else that of [registry.Change].
func (r *Registry) Revoke(ctx context.Context, drafts []Draft) ([]*Revocation, error) {
	now := r.now().Unix()
	asked := make([]*Revocation, len(drafts))
	for i := range drafts {
		err := drafts[i].validate()
		if err == nil {
			asked[i], err = drafts[i].make(now)
		}
		if err != nil {
			return nil, err
		}
	}
	type outcome struct {
		made []*Revocation
		err  error
	}
	if len(drafts) == 0 {
		return nil, nil
	}
	done, err := registry.Change(ctx, r.Registry, len(asked), func(w *registry.Work[Key, Revocation]) (o outcome) {
		o.made = make([]*Revocation, len(asked))
		for i, one := range asked {
			if o.made[i], o.err = revoke(w, *one); o.err != nil {
				return o
			}
		}
		return o
	}, nil)
	if err == nil {
		err = done.err
	}
	if err != nil {
		return nil, err
	}
	return done.made, nil
}

// revoke puts one into the revision, or leaves the one that says as much.
func revoke(w *registry.Work[Key, Revocation], made Revocation) (*Revocation, error) {
	old := w.Get(made.Key())
	if old != nil && old.Expires > w.Now {
		if made.IssuedBefore <= old.IssuedBefore && made.Expires <= old.Expires {
			return old, nil
		}
		made.IssuedBefore, made.Expires = max(made.IssuedBefore, old.IssuedBefore), max(made.Expires, old.Expires)
	}
	if made.Expires <= w.Now {
		return nil, nil
	}
	return &made, w.Put(&made)
}

// Delete ends a revocation before its time, and returns it; the error is [ErrNotFound]
// or that of [registry.Change].
func (r *Registry) Delete(ctx context.Context, text string) (*Revocation, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return nil, ErrNotFound
	}
	type outcome struct {
		was *Revocation
		err error
	}
	done, err := registry.Change(ctx, r.Registry, 1, func(w *registry.Work[Key, Revocation]) outcome {
		was := w.ByID(id)
		if was == nil || was.Expires <= w.Now {
			return outcome{err: ErrNotFound}
		}
		return outcome{was, w.Delete(was.Key())}
	}, nil)
	if err == nil {
		err = done.err
	}
	return done.was, err
}
