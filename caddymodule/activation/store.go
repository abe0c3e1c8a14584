package activation

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// Store holds which instances are active, and which logins were used, in a storage
// that several nodes may share. It outlives a change of the configuration.
type Store struct {
	*registry.Registry[Key, Record]
	now func() time.Time
}

// NewStore makes a store without a storage, which is to be attached. The options are for
// tests.
func NewStore(o registry.Options) *Store {
	s := &Store{registry.New(kind, o), o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Count is how many seats of a product an account has taken.
type Count struct {
	Account string `json:"account"`
	Product string `json:"product"`
	Taken   int    `json:"taken"`
	Seats   int    `json:"seats"` // that there are; 0: any number, or not filled in
}

// Active counts the seats that are taken, by account and product.
func (s *Store) Active() (counts []Count) {
	now := s.now().Unix()
	for _, r := range s.Snapshot().List(nil, func(r *Record) bool { return r.active(now) }, 0) {
		if last := len(counts) - 1; last >= 0 && counts[last].Account == r.Account && counts[last].Product == r.Product {
			counts[last].Taken++
			continue
		}
		counts = append(counts, Count{Account: r.Account, Product: r.Product, Taken: 1})
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
	if !s.AwaitReading(ctx) {
		return nil, ErrUnread
	}
	snapshot := s.Snapshot()
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
	freed, err := s.change(ctx, 1, func(w *registry.Work[Key, Record]) taken {
		seat := w.ByID(id)
		if seat == nil || seat.What != seats {
			return taken{err: ErrUnknownID}
		}
		return taken{seat: seat, err: w.Delete(seat.key())}
	})
	return freed.seat, err
}

// change does a change to its end, whether who asked for it is still there or not.
func (s *Store) change(ctx context.Context, size int, do func(*registry.Work[Key, Record]) taken) (taken, error) {
	done, err := registry.Change(context.WithoutCancel(ctx), s.Registry, size, do, nil)
	if err != nil {
		return done, err
	}
	return done, done.err
}

// taken is what a change did: a seat, how many of the account and the product there are
// with it, and whether it was not taken before; or what was wrong.
type taken struct {
	seat  *Record
	count int
	fresh bool
	err   error
}

// take gives an instance a seat: the one that it has, or one of those that are left.
// used are the login and the offline request, which count once; both are remembered in
// the same revision as the seat.
func (s *Store) take(ctx context.Context, t *Terms, wanted *Record, used []*Record) (taken, *sso.Refusal) {
	got, err := s.change(ctx, 2+len(used), func(w *registry.Work[Key, Record]) taken {
		if refusal := unused(w, used, wanted.ID); refusal != nil {
			return taken{err: refusal}
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
			return taken{err: refusal}
		}
		trial := w.Get(trialOf(&seat))
		if trial == nil {
			trial = &Record{What: trials, Account: seat.Account, Product: seat.Product, Created: w.Now}
		}
		end, refusal := t.expiry(w.Now, trial.Created)
		if refusal != nil {
			return taken{err: refusal}
		}
		seat.Checked, seat.Expires, seat.Ends = w.Now, end, end+int64(t.Grace/time.Second)
		records := []*Record{&seat}
		if trial.Created == w.Now {
			records = append(records, trial)
		}
		return taken{&seat, len(others) + 1, old == nil, put(w, records, used, wanted.ID)}
	})
	return got, asRefusal(err)
}

// room decides whether there is a seat beside the others; old is the one that the
// instance has, nil if it has none.
func (t *Terms) room(others []*Record, old *Record, subject string) *sso.Refusal {
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
func unused(w *registry.Work[Key, Record], used []*Record, by uuid.UUID) *sso.Refusal {
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

// put writes records, and what was used for the seat of that id.
func put(w *registry.Work[Key, Record], records, used []*Record, by uuid.UUID) error {
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
	if r := s.Snapshot().ByID(id); r != nil && r.What == seats {
		return r, nil
	}
	found, err := s.change(ctx, 0, func(w *registry.Work[Key, Record]) taken {
		if r := w.ByID(id); r != nil && r.What == seats {
			return taken{seat: r}
		}
		return taken{}
	})
	return found.seat, asRefusal(err)
}

// renew moves the end of a seat, if that is worth it.
func (s *Store) renew(ctx context.Context, t *Terms, a *ask) (taken, *sso.Refusal) {
	now := s.now().Unix()
	snapshot := s.Snapshot()
	if seat := snapshot.ByID(a.licenseKey); seat != nil && seat.active(now) && s.StorageState() == registry.Ready {
		trial := snapshot.Find(trialOf(seat))
		if trial == nil {
			trial = seat
		}
		// What is asked for again and again is not written for a license that ends little later.
		end, refusal := t.expiry(now, trial.Created)
		little := end >= seat.Expires && end-seat.Expires <= int64(t.Valid/time.Second)/100
		if refusal == nil && seat.Expires > now && little {
			others := snapshot.Like(hash(seat.key()), func(r *Record) bool {
				return r.active(now) && r.Account == seat.Account && r.Product == seat.Product
			})
			return taken{seat: seat, count: len(others)}, nil
		}
	}
	got, err := s.change(ctx, 1, func(w *registry.Work[Key, Record]) taken {
		old := w.ByID(a.licenseKey)
		switch {
		case old == nil || old.What != seats:
			return taken{err: errNotFound}
		case !old.active(w.Now):
			return taken{err: errNotActive}
		}
		trial := w.Get(trialOf(old))
		if trial == nil {
			trial = old
		}
		end, refusal := t.expiry(w.Now, trial.Created)
		if refusal != nil {
			return taken{err: refusal}
		}
		seat := *old
		seat.Checked, seat.Expires, seat.Ends = w.Now, end, end+int64(t.Grace/time.Second)
		others := w.Like(hash(seat.key()), func(r *Record) bool {
			return r.active(w.Now) && r.Account == seat.Account && r.Product == seat.Product
		})
		return taken{seat: &seat, count: len(others), err: w.Put(&seat)}
	})
	return got, asRefusal(err)
}

// free gives a seat back, at its instance's request.
func (s *Store) free(ctx context.Context, a *ask, used []*Record) *sso.Refusal {
	by := uuid.New()
	_, err := s.change(ctx, 1+len(used), func(w *registry.Work[Key, Record]) taken {
		if refusal := unused(w, used, by); refusal != nil {
			return taken{err: refusal}
		}
		seat := w.ByID(a.licenseKey)
		if seat == nil || seat.What != seats {
			return taken{err: errNotFound}
		}
		if err := put(w, nil, used, by); err != nil {
			return taken{err: err}
		}
		return taken{err: w.Delete(seat.key())}
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
