package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	storageLimit   = 5 * time.Second
	storageGrace   = time.Second // for a storage that ends late
	storeRetry     = time.Minute
	maxRecordBytes = 4 << 20
)

// record is what storage keeps of an issuer: enough to serve at once after a
// restart with the issuer down. The key set holds the usable public keys only.
type record struct {
	Issuer    string         `json:"issuer"`
	Source    string         `json:"source"`
	FetchedAt time.Time      `json:"fetched_at"`
	Metadata  *Metadata      `json:"metadata,omitempty"`
	KeySet    jsontext.Value `json:"key_set"`
}

// storageKey is safe on every storage: the issuer is no part of it as it is.
func (c Config) storageKey() string {
	sum := sha256.Sum256([]byte(c.Issuer + "\x00" + c.source()))
	return "gatehouse/issuers/" + hex.EncodeToString(sum[:]) + ".json"
}

// restore starts reading the record from a new host, if there are no keys yet;
// e.mu is held. A key set file is its own record.
func (e *Engine) restore(h *hosting) {
	if h.host.Storage == nil || e.cfg.JWKSFile != "" || e.kept != nil || e.set.Load() != nil {
		return
	}
	e.kept = make(chan struct{})
	e.work.Go(func() {
		rec, set, err := e.readRecord(h)
		e.takeRecord(h, rec, set, err)
		e.deliver()
		e.poke() // what was fetched meanwhile may be kept now
	})
}

// readRecord reads and checks the record; nil without an error if there is none.
func (e *Engine) readRecord(h *hosting) (*record, *Set, error) {
	var value []byte
	err := h.ask(func(ctx context.Context) (err error) {
		value, err = h.host.Storage.Load(ctx, e.cfg.storageKey())
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the kept keys from storage: %w", err)
	}
	rec, set, err := e.cfg.parseRecord(value)
	if err != nil {
		return nil, nil, fmt.Errorf("the kept keys in storage, %s, are damaged and not used: %w", e.cfg.storageKey(), err)
	}
	return rec, set, nil
}

func (c Config) parseRecord(value []byte) (*record, *Set, error) {
	var rec record
	if len(value) > maxRecordBytes {
		return nil, nil, fmt.Errorf("more than %d bytes", maxRecordBytes)
	}
	if err := json.Unmarshal(value, &rec); err != nil {
		return nil, nil, errors.New("not the JSON that was written")
	}
	if rec.Issuer != c.Issuer || rec.Source != c.shown() || rec.FetchedAt.IsZero() {
		return nil, nil, errors.New("of another issuer, or without its time")
	}
	set, _, err := parseUsable(rec.KeySet)
	if err != nil {
		return nil, nil, err
	}
	rec.Metadata = c.recheck(rec.Metadata)
	return &rec, set, nil
}

// recheck holds kept metadata against the configuration of today, which may be
// stricter than the one it was fetched under; nil if it does not hold.
func (c Config) recheck(kept *Metadata) *Metadata {
	data, err := json.Marshal(kept)
	if kept == nil || err != nil {
		return nil
	}
	checked, err := parseMetadata(c, data)
	if err != nil {
		return nil
	}
	return checked
}

// takeRecord puts kept keys to use unless there are fresher ones, or they are
// too old.
func (e *Engine) takeRecord(h *hosting, rec *record, set *Set, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.kept)
	e.kept = nil
	if newest := e.newest(); err != nil && !e.closed && newest != nil && newest != h {
		e.restore(newest) // the host went away while its storage was read
		return
	}
	e.warn("kept", err)
	if rec == nil || e.closed || e.set.Load() != nil {
		return
	}
	at := rec.FetchedAt
	if now := e.now(); at.After(now) {
		at = now // another node's clock must not lengthen their life
	}
	e.record.fetchedAt = rec.FetchedAt
	if m := &e.metadata; m.known == nil && rec.Metadata != nil {
		m.known, m.at = rec.Metadata, at
	}
	if e.now().Sub(at) >= e.cfg.MaxStale {
		e.warn("kept", fmt.Errorf("the kept keys in storage are older than max_stale (%s) and not used", e.cfg.MaxStale))
		return
	}
	added, _ := e.publish(set, at, false)
	e.keys.restored = true
	e.note(Event{Kind: Restored, Added: added})
}

// keep writes the record if it is due: when keys or metadata changed, and about
// once a refresh so that its time moves on. Only the background calls it.
func (e *Engine) keep() {
	h, value, fetchedAt, err := e.dueRecord()
	if err == nil && value == nil {
		return
	}
	if err == nil {
		err = h.ask(func(ctx context.Context) error {
			return h.host.Storage.Store(ctx, e.cfg.storageKey(), value)
		})
	}
	e.mu.Lock()
	if err != nil {
		err = fmt.Errorf("keeping the keys in storage: %w", err)
		e.record.changed, e.record.retryAt = true, e.now().Add(storeRetry)
	} else {
		e.record.fetchedAt, e.record.retryAt = fetchedAt, time.Time{}
	}
	e.warn("store", err)
	e.mu.Unlock()
	e.deliver()
}

// dueRecord is the record to write, and where; no value if none is due.
func (e *Engine) dueRecord() (h *hosting, value []byte, fetchedAt time.Time, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h, set, fetchedAt := e.newest(), e.set.Load(), e.keys.fetchedAt
	if h == nil || h.host.Storage == nil || e.cfg.JWKSFile != "" || set == nil || e.keys.restored || e.kept != nil {
		return nil, nil, fetchedAt, nil
	}
	old := fetchedAt.Sub(e.record.fetchedAt) >= e.cfg.Refresh*8/10
	if !old && !e.record.changed || e.now().Before(e.record.retryAt) {
		return nil, nil, fetchedAt, nil
	}
	e.record.changed = false
	rec := record{Issuer: e.cfg.Issuer, Source: e.cfg.shown(), FetchedAt: fetchedAt.UTC(), Metadata: e.metadata.known}
	published := set.filter(func(k *Key) bool { _, absent := e.flaps.absent[k]; return !absent })
	if rec.KeySet, err = published.encode(); err == nil {
		value, err = json.Marshal(rec)
	}
	return h, value, fetchedAt, err
}

var errStorageBusy = errors.New("storage has not answered the last request yet")

// ask calls the storage with a time-out. A storage that ignores its context is
// left behind, one call at most, so that it can hold up neither the background
// nor Close.
func (h *hosting) ask(call func(context.Context) error) error {
	answered, err := h.enter()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(h.ctx, storageLimit)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		err := call(ctx)
		h.mu.Lock()
		h.calling = nil
		h.mu.Unlock()
		close(answered)
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(storageGrace)
	defer late.Stop()
	select {
	case err := <-answer:
		return err
	case <-late.C:
		return fmt.Errorf("storage did not answer within %s", storageLimit)
	}
}

// enter begins a call of the storage; what it returns is to be closed when the
// storage has answered.
func (h *hosting) enter() (chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil, context.Canceled
	}
	if h.calling != nil {
		return nil, errStorageBusy
	}
	h.calling = make(chan struct{})
	return h.calling, nil
}

// settle lets no further call begin and waits a moment for the one under way.
func (h *hosting) settle() {
	h.mu.Lock()
	h.ended = true
	calling := h.calling
	h.mu.Unlock()
	if calling == nil {
		return
	}
	late := time.NewTimer(storageGrace)
	defer late.Stop()
	select {
	case <-calling:
	case <-late.C:
	}
}
