package active

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

const (
	// MaxListed bounds one call of [Record.List].
	MaxListed = 1000
	// Bounds of the calls of storage at once, well below [storage.MaxCalls] together.
	maxAdds  = 8
	parallel = 4 // of the one listing at a time
)

// Entry is one signature that was made.
type Entry struct {
	// ID names the entry: unique over all nodes, and in the order of time. Add
	// gives it.
	ID string
	// Time is when it was signed; zero in Add: now.
	Time time.Time
	// Actor is who asked for it, and ActorIssuer who vouches for that actor, if
	// anybody does: 1 to 1024 bytes, and 0 to 1024 bytes of UTF-8.
	Actor, ActorIssuer string
	// KeyID is the key that signed; left empty in Add it is the license's.
	KeyID string
	// License is what was signed, with whom it is for and what it grants.
	License *license.License
	// Err is set by List, and never by Add, where the entry is damaged or cannot
	// be read: it names the record, ID and Time are those of its name, and the
	// rest is empty. It is for logs and not for callers.
	Err error
}

// Record is the record of what was signed, one value in storage a signature. The
// values have names of their own and are never changed, so no lock is needed.
// Methods are safe for concurrent use.
type Record struct {
	client *storage.Client
	adds   chan struct{}
	lists  chan struct{}
	now    func() time.Time
	limit  time.Duration
}

// NewRecord makes the record that is kept in this storage. It starts nothing, and
// lives no longer than the configuration that the storage is of.
func NewRecord(s Storage, opts Options) *Record {
	r := &Record{client: storage.NewClient(s, 0), now: opts.Now, limit: opts.WriteLimit}
	r.adds, r.lists = make(chan struct{}, maxAdds), make(chan struct{}, 1)
	if r.now == nil {
		r.now = time.Now
	}
	if r.limit <= 0 {
		r.limit = DefaultWriteLimit
	}
	return r
}

// Add records a signature and returns the entry as it is recorded. A license must
// not be handed out before: if Add fails, nobody may get it. The error is
// [ErrBusy] when it could not be written within 15 seconds, the context's, or says
// what is wrong with the entry.
func (r *Record) Add(ctx context.Context, e Entry) (Entry, error) {
	if e.Time.IsZero() {
		e.Time = r.now()
	}
	e.Time, e.Err = e.Time.UTC(), nil
	if e.License != nil {
		e.KeyID = cmp.Or(e.KeyID, e.License.KeyID)
	}
	value, err := e.encode()
	if err != nil {
		return Entry{}, fmt.Errorf("recording a signature: %w", err)
	}
	e.ID = newEntryID(e.Time)
	if err := r.write(ctx, keyOf(e.ID), value); err != nil {
		return Entry{}, fmt.Errorf("recording a signature: %w", err)
	}
	return e, nil
}

func (r *Record) write(ctx context.Context, key string, value []byte) error {
	limited, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	var err error
	select {
	case r.adds <- struct{}{}:
		defer func() { <-r.adds }()
		err = insist(limited, func() error { return r.client.StoreChecked(limited, key, value) })
	case <-limited.Done():
		return busyUnless(ctx, limited.Err())
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func newEntryID(at time.Time) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return at.Format(idTime) + "-" + hex.EncodeToString(b[:])
}

// List returns what was signed, newest first: those before the entry whose ID is
// after ("": from the newest), at most limit of them (1 to [MaxListed]; 0: as many
// as that). Entries that are damaged are among them. The error is [ErrAfter],
// [ErrBusy] when storage does not answer, or the context's.
func (r *Record) List(ctx context.Context, after string, limit int) ([]Entry, error) {
	if after != "" && !idForm.MatchString(after) {
		return nil, fmt.Errorf("listing from %.64q: %w", after, ErrAfter)
	}
	if limit <= 0 || limit > MaxListed {
		limit = MaxListed
	}
	limited, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	select {
	case r.lists <- struct{}{}:
		defer func() { <-r.lists }()
	case <-limited.Done():
		return nil, busyUnless(ctx, limited.Err())
	}
	entries, err := r.page(limited, after, limit)
	if err != nil {
		return nil, busyUnless(ctx, err)
	}
	return entries, nil
}

func (r *Record) page(ctx context.Context, after string, limit int) ([]Entry, error) {
	ids, err := r.ids(ctx)
	if err != nil {
		return nil, err
	}
	if after != "" {
		at, _ := slices.BinarySearch(ids, after)
		ids = ids[:at]
	}
	ids = ids[max(0, len(ids)-limit):]
	slices.Reverse(ids)
	return r.read(ctx, ids)
}

// ids lists all entries, the oldest first.
func (r *Record) ids(ctx context.Context) ([]string, error) {
	keys, err := r.client.List(ctx, recordFolder)
	if err != nil {
		return nil, err
	}
	ids := keys[:0]
	for _, key := range keys {
		if id, ok := idOf(key); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// read loads entries. If none can be had it is storage that is at fault, and not
// the entries.
func (r *Record) read(ctx context.Context, ids []string) ([]Entry, error) {
	entries := make([]Entry, len(ids))
	unread := make([]error, len(ids))
	err := storage.Each(len(ids), parallel, func(i int) error {
		entries[i], unread[i] = r.entry(ctx, ids[i])
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	for _, err := range unread {
		isAway := errors.Is(err, storage.ErrNoAnswer) || errors.Is(err, storage.ErrStuck)
		if isAway || err != nil && !slices.Contains(unread, nil) {
			return nil, err
		}
	}
	return entries, nil
}

// entry loads one entry; unread says that it could not be had at all.
func (r *Record) entry(ctx context.Context, id string) (e Entry, unread error) {
	data, err := r.client.Load(ctx, keyOf(id))
	if err == nil {
		e, err = decodeEntry(data)
	} else {
		unread = err
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s", storage.ErrWavers, keyOf(id))
		}
	}
	if err == nil && e.Time.Format(idTime) != id[:len(idTime)] {
		err = errOtherTime
	}
	if err != nil {
		return Entry{ID: id, Time: timeOf(id), Err: fmt.Errorf("record %s: %w", keyOf(id), err)}, unread
	}
	e.ID = id
	return e, nil
}

// busyUnless is ErrBusy with its reason, or the error of a context that has ended.
func busyUnless(ctx context.Context, err error) error {
	if over := ctx.Err(); over != nil {
		return over
	}
	return fmt.Errorf("%w: %w", ErrBusy, err)
}
