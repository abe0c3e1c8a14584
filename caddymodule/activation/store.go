package activation

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// What a store is given, and tells.
type (
	// Host is what the running configuration lends a store.
	Host = registry.Host[Record]
	// Event is one thing that happened to the records or their storage.
	Event = registry.Event[Record]
)

// Store holds which instances are active, and which logins were used, in a storage
// that several nodes may share. It outlives a change of the configuration.
type Store struct {
	registry *registry.Registry[Key, Record]
	now      func() time.Time
}

// NewStore makes a store without a storage: see [Store.Attach]. The options are for
// tests.
func NewStore(o registry.Options) *Store {
	s := &Store{registry.New(kind, o), o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Attach gives the store a configuration's storage, until detach is called.
func (s *Store) Attach(h Host) (detach func()) { return s.registry.Attach(h) }

// Destruct ends the store's work.
func (s *Store) Destruct() error { return s.registry.Close() }

// State says how the store found its storage.
func (s *Store) State() registry.StorageState { return s.registry.StorageState() }

// Loaded tells whether the store was ever read.
func (s *Store) Loaded() bool { return s.registry.Loaded() }

// Count is how many seats of a product an account has taken.
type Count struct {
	Account, Product string
	Taken            int
}

// Active counts the seats that are taken, by account and product.
func (s *Store) Active() (counts []Count) {
	now := s.now().Unix()
	for _, r := range s.registry.Snapshot().List(nil, func(r *Record) bool { return r.active(now) }, 0) {
		if last := len(counts) - 1; last >= 0 && counts[last].Account == r.Account && counts[last].Product == r.Product {
			counts[last].Taken++
			continue
		}
		counts = append(counts, Count{r.Account, r.Product, 1})
	}
	return counts
}

// ErrUnknownID says that there is no seat with an id.
var ErrUnknownID = errors.New("there is no activation with that id")

// ErrUnread says that it is not known yet who is active.
var ErrUnread = errors.New("the activations have not been read from storage yet")

// Query says which seats are asked for.
type Query struct {
	Account, Product string    // empty: all
	After            uuid.UUID // those behind the seat with that id; [uuid.Nil]: all
	Limit            int       // 0: all
}

// List gives the seats that are taken, by account, product and hardware id. The error
// is [ErrUnread], or [ErrUnknownID] for an unknown After.
func (s *Store) List(ctx context.Context, q Query) ([]*Record, error) {
	now := s.now()
	if !s.registry.AwaitReading(ctx) {
		return nil, ErrUnread
	}
	snapshot := s.registry.Snapshot()
	var behind func(*Record) bool
	if q.After != uuid.Nil {
		last := snapshot.ByID(q.After)
		if last == nil {
			return nil, ErrUnknownID
		}
		behind = func(r *Record) bool { return compare(r, last) > 0 }
	}
	return snapshot.List(behind, func(r *Record) bool {
		return r.active(now.Unix()) && (q.Account == "" || q.Account == r.Account) && (q.Product == "" || q.Product == r.Product)
	}, q.Limit), nil
}

// Free gives a seat back, for an operator. The error is [ErrUnknownID] or the
// registry's.
func (s *Store) Free(ctx context.Context, id uuid.UUID) (*Record, error) {
	return change(ctx, s, 1, func(w *work) result[*Record] {
		seat := w.ByID(id)
		if seat == nil || seat.What != seats {
			return result[*Record]{err: ErrUnknownID}
		}
		return result[*Record]{seat, w.Delete(seat.key())}
	})
}

// work is what a change sees.
type work = registry.Work[Key, Record]

type result[T any] struct {
	value T
	err   error
}

// change does a change to its end, whether who asked for it is still there or not.
func change[T any](ctx context.Context, s *Store, size int, do func(*work) result[T]) (T, error) {
	r, err := registry.Change(context.WithoutCancel(ctx), s.registry, size, do, nil)
	if err != nil {
		return r.value, err
	}
	return r.value, r.err
}

// taken is a seat, how many of the account and the product there are with it, and
// whether it was not taken before.
type taken struct {
	seat  *Record
	count int
	fresh bool
}

// take gives an instance a seat: the one that it has, or one of those that are left.
// used are the login and the offline request, which count once; both are remembered in
// the same revision as the seat.
func (s *Store) take(ctx context.Context, t *terms, wanted *Record, used []*Record) (taken, *sso.Refusal) {
	got, err := change(ctx, s, 2+len(used), func(w *work) result[taken] {
		if refusal := unused(w, used, wanted.ID); refusal != nil {
			return result[taken]{err: refusal}
		}
		seat := *wanted
		old := w.Get(seat.key())
		if old != nil && old.active(w.Now) {
			seat.ID, seat.Created = old.ID, old.Created
		} else {
			old, seat.Created = nil, w.Now
		}
		others := w.Like(hash(seat.key()), func(r *Record) bool {
			return r.active(w.Now) && r.Account == seat.Account && r.Product == seat.Product && r.Name != seat.Name
		})
		if refusal := t.room(others, old, seat.Subject); refusal != nil {
			return result[taken]{err: refusal}
		}
		trial := w.Get(trialOf(&seat))
		if trial == nil {
			trial = &Record{What: trials, Account: seat.Account, Product: seat.Product, Created: w.Now}
		}
		end, refusal := t.expiry(w.Now, trial.Created)
		if refusal != nil {
			return result[taken]{err: refusal}
		}
		seat.Checked, seat.Expires, seat.Ends = w.Now, end, end+int64(t.Grace/time.Second)
		return result[taken]{taken{&seat, len(others) + 1, old == nil}, put(w, &seat, trial, used, wanted.ID)}
	})
	return got, asRefusal(err)
}

// room decides whether there is a seat beside the others; old is the one that the
// instance has, nil if it has none.
func (t *terms) room(others []*Record, old *Record, subject string) *sso.Refusal {
	if old == nil && t.Seats > 0 && len(others) >= t.Seats {
		return errNoSeat
	}
	if t.SeatsPerUser == 0 || old != nil && old.Subject == subject {
		return nil
	}
	own := 0
	for _, r := range others {
		if r.Subject == subject {
			own++
		}
	}
	if own >= t.SeatsPerUser {
		return errNoOwnSeat
	}
	return nil
}

func trialOf(seat *Record) Key {
	return Key{What: trials, Account: seat.Account, Product: seat.Product}
}

// unused refuses what was used before, unless that was for the same request: a change
// may be made again after it was written.
func unused(w *work, used []*Record, by uuid.UUID) *sso.Refusal {
	for _, r := range used {
		if known := w.Get(r.key()); known != nil && known.By != by {
			if r.What == requests {
				return errRequestUsed
			}
			return errUsed
		}
	}
	return nil
}

// put writes a seat and what was used for it.
func put(w *work, seat, trial *Record, used []*Record, by uuid.UUID) error {
	records := []*Record{seat}
	if trial.Created == w.Now {
		records = append(records, trial)
	}
	for _, r := range used {
		mark := *r
		mark.By, mark.Created = by, w.Now
		records = append(records, &mark)
	}
	for _, r := range records {
		if err := w.Put(r); err != nil {
			return err
		}
	}
	return nil
}

// find gives a seat, whether it is still active or not; nil: there is none. Where this
// node knows none, storage is asked: another node may have given it just now.
func (s *Store) find(ctx context.Context, id uuid.UUID) (*Record, *sso.Refusal) {
	if r := s.registry.Snapshot().ByID(id); r != nil && r.What == seats {
		return r, nil
	}
	found, err := change(ctx, s, 0, func(w *work) result[*Record] {
		if r := w.ByID(id); r != nil && r.What == seats {
			return result[*Record]{value: r}
		}
		return result[*Record]{}
	})
	return found, asRefusal(err)
}

// renew moves the end of a seat, if that is worth it.
func (s *Store) renew(ctx context.Context, t *terms, a *ask) (taken, *sso.Refusal) {
	now := s.now().Unix()
	snapshot := s.registry.Snapshot()
	if seat := snapshot.ByID(a.licenseKey); seat != nil && seat.active(now) && s.State() == registry.Ready {
		trial := snapshot.Find(trialOf(seat))
		if trial == nil {
			trial = seat
		}
		if end, refusal := t.expiry(now, trial.Created); refusal == nil && seat.Expires > now && !t.worth(seat.Expires, end) && end >= seat.Expires {
			others := snapshot.Like(hash(seat.key()), func(r *Record) bool {
				return r.active(now) && r.Account == seat.Account && r.Product == seat.Product
			})
			return taken{seat: seat, count: len(others)}, nil
		}
	}
	got, err := change(ctx, s, 1, func(w *work) result[taken] {
		old := w.ByID(a.licenseKey)
		switch {
		case old == nil || old.What != seats:
			return result[taken]{err: errNotFound}
		case !old.active(w.Now):
			return result[taken]{err: errNotActive}
		}
		trial := w.Get(trialOf(old))
		if trial == nil {
			trial = old
		}
		end, refusal := t.expiry(w.Now, trial.Created)
		if refusal != nil {
			return result[taken]{err: refusal}
		}
		seat := *old
		seat.Checked, seat.Expires, seat.Ends = w.Now, end, end+int64(t.Grace/time.Second)
		others := w.Like(hash(seat.key()), func(r *Record) bool {
			return r.active(w.Now) && r.Account == seat.Account && r.Product == seat.Product
		})
		return result[taken]{taken{seat: &seat, count: len(others)}, w.Put(&seat)}
	})
	return got, asRefusal(err)
}

// free gives a seat back, at its instance's request.
func (s *Store) free(ctx context.Context, a *ask, used []*Record) *sso.Refusal {
	by := uuid.New()
	_, err := change(ctx, s, 1+len(used), func(w *work) result[bool] {
		if refusal := unused(w, used, by); refusal != nil {
			return result[bool]{err: refusal}
		}
		seat := w.ByID(a.licenseKey)
		if seat == nil || seat.What != seats {
			return result[bool]{err: errNotFound}
		}
		for _, r := range used {
			mark := *r
			mark.By, mark.Created = by, w.Now
			if err := w.Put(&mark); err != nil {
				return result[bool]{err: err}
			}
		}
		return result[bool]{true, w.Delete(seat.key())}
	})
	return asRefusal(err)
}

// storageRetry is when a storage that could not be written may be asked again.
const storageRetry = 5 * time.Second

// asRefusal words what kept a change from happening.
func asRefusal(err error) *sso.Refusal {
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*sso.Refusal](err); ok {
		return refusal
	}
	if errors.Is(err, registry.ErrDamaged) {
		return &sso.Refusal{Code: sso.CodeInternal, Message: "A record of the activations is damaged", Cause: err}
	}
	return &sso.Refusal{Code: sso.CodeTemporarilyUnavailable, Message: "The activations cannot be written at the moment", RetryAfter: storageRetry, Cause: err}
}
