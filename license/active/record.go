package active

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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

const (
	// idTime is the beginning of an entry's id, in UTC: it sorts as time does.
	idTime = "20060102t150405.000000000z"

	maxActor  = 1 << 10
	maxRecord = license.MaxSize + 16<<10
)

var (
	idForm = regexp.MustCompile(`^[0-9]{8}t[0-9]{6}\.[0-9]{9}z-[0-9a-f]{16}$`)

	errOtherTime = errors.New("damaged: its time is not that of its name")
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
func NewRecord(s storage.Storage, opts Options) *Record {
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
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	e.ID = e.Time.Format(idTime) + "-" + hex.EncodeToString(random[:])
	limited, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	select {
	case r.adds <- struct{}{}:
		defer func() { <-r.adds }()
		err = insist(limited, func() error { return r.client.StoreChecked(limited, keyOf(e.ID), value) })
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	case <-limited.Done():
		err = busyUnless(ctx, limited.Err())
	}
	if err != nil {
		return Entry{}, fmt.Errorf("recording a signature: %w", err)
	}
	return e, nil
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
	keys, err := r.client.List(limited, recordFolder)
	if err != nil {
		return nil, busyUnless(ctx, err)
	}
	ids := keys[:0] // the oldest first
	for _, key := range keys {
		id, inside := strings.CutPrefix(key, recordFolder+"/")
		id, ours := strings.CutSuffix(id, ".json")
		if inside && ours && idForm.MatchString(id) {
			ids = append(ids, id)
		}
	}
	if after != "" {
		at, _ := slices.BinarySearch(ids, after)
		ids = ids[:at]
	}
	ids = ids[max(0, len(ids)-limit):]
	slices.Reverse(ids)
	entries, err := r.read(limited, ids)
	if err != nil {
		return nil, busyUnless(ctx, err)
	}
	return entries, nil
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
		at, _ := time.Parse(idTime, id[:len(idTime)]) // zero if there is no such time
		return Entry{ID: id, Time: at, Err: fmt.Errorf("record %s: %w", keyOf(id), err)}, unread
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

// record is an entry as storage keeps it.
type record struct {
	Time        time.Time      `json:"time"`
	Actor       string         `json:"actor"`
	ActorIssuer string         `json:"actor_issuer,omitzero"`
	KeyID       string         `json:"key_id"`
	License     jsontext.Value `json:"license"`
}

func (e *Entry) encode() ([]byte, error) {
	if e.License == nil {
		return nil, errors.New("no license; want the one that was signed")
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	text, err := e.License.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := license.Decode(text); err != nil {
		return nil, err // it could not be read again
	}
	return json.Marshal(record{e.Time, e.Actor, e.ActorIssuer, e.KeyID, text})
}

func (e *Entry) check() error {
	switch {
	case e.Actor == "" || len(e.Actor) > maxActor || !utf8.ValidString(e.Actor):
		return fmt.Errorf("an actor of %d bytes; want 1 to %d of UTF-8", len(e.Actor), maxActor)
	case len(e.ActorIssuer) > maxActor || !utf8.ValidString(e.ActorIssuer):
		return fmt.Errorf("an actor's issuer of %d bytes; want at most %d of UTF-8", len(e.ActorIssuer), maxActor)
	case e.KeyID != e.License.KeyID:
		return fmt.Errorf("key %.80q; want the license's own, %s", e.KeyID, e.License.KeyID)
	}
	return nil
}

// decodeEntry reads what encode wrote, and nothing else.
func decodeEntry(data []byte) (Entry, error) {
	var rec record
	if len(data) > maxRecord {
		return Entry{}, fmt.Errorf("damaged: %d bytes; want at most %d", len(data), maxRecord)
	}
	if json.Unmarshal(data, &rec, json.RejectUnknownMembers(true)) != nil {
		return Entry{}, errors.New("damaged: not the JSON that was written")
	}
	signed, err := license.Decode(rec.License)
	if err != nil {
		return Entry{}, fmt.Errorf("damaged: its license: %w", err)
	}
	e := Entry{Time: rec.Time.UTC(), Actor: rec.Actor, ActorIssuer: rec.ActorIssuer, KeyID: rec.KeyID, License: signed}
	if err := e.check(); err != nil {
		return Entry{}, fmt.Errorf("damaged: %w", err)
	}
	return e, nil
}

func keyOf(id string) string { return recordFolder + "/" + id + ".json" }
