package issuer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

const (
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

	jwks *JWKS // KeySet when it has been parsed
}

// storageKey is safe on every storage: it holds the issuer only as a hash.
func (c Config) storageKey() string {
	sum := sha256.Sum256([]byte(c.Issuer + "\x00" + c.source()))
	return "gatehouse/issuers/" + hex.EncodeToString(sum[:]) + ".json"
}

// restore starts reading the record from the storage of a new configuration, if
// there are no keys yet; e.mu is held. A key set file is its own record.
func (e *Engine) restore(lease *storage.Lease[func(Event)]) {
	if !lease.HasStorage() || e.cfg.JWKSFile != "" || e.restoring != nil || e.jwks.Load() != nil {
		return
	}
	e.restoring = make(chan struct{})
	e.work.Go(func() {
		value, err := lease.Load(lease.Context(), e.cfg.storageKey())
		var rec *record
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		case err != nil:
			err = fmt.Errorf("reading the kept keys from storage: %w", err)
		default:
			if rec, err = e.cfg.parseRecord(value); err != nil {
				err = fmt.Errorf("the kept keys in storage, %s, are damaged and not used: %w", e.cfg.storageKey(), err)
			}
		}
		e.useRecord(lease, rec, err)
		e.deliver()
		e.poke() // what was fetched meanwhile may be kept now
	})
}

// parseRecord reads a record and checks it against the configuration.
func (c Config) parseRecord(value []byte) (*record, error) {
	var rec record
	if len(value) > maxRecordBytes {
		return nil, fmt.Errorf("more than %d bytes", maxRecordBytes)
	}
	if err := json.Unmarshal(value, &rec); err != nil {
		return nil, errors.New("not the JSON that was written")
	}
	if rec.Issuer != c.Issuer || rec.Source != c.shown() || rec.FetchedAt.IsZero() {
		return nil, errors.New("of another issuer, or without its time")
	}
	var err error
	if rec.jwks, _, err = c.parseUsable(rec.KeySet); err != nil {
		return nil, err
	}
	if rec.Metadata != nil { // it may have been fetched under a less strict configuration than that of today
		data, _ := json.Marshal(rec.Metadata) // it has just been read
		rec.Metadata, _ = parseMetadata(c, data)
	}
	return &rec, nil
}

// useRecord puts kept keys to use, if there are any, unless there are fresher ones, or they are too
// old.
func (e *Engine) useRecord(lease *storage.Lease[func(Event)], rec *record, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.restoring)
	e.restoring = nil
	if newest := e.leases.Newest(); err != nil && !e.closed && newest != nil && newest != lease {
		e.restore(newest) // the configuration ended while its storage was read
		return
	}
	e.warn("kept", err)
	if rec == nil || e.closed || e.jwks.Load() != nil {
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
	added, _ := e.publish(rec.jwks, at, false)
	e.keys.restored = true
	e.note(Event{Kind: Restored, Added: added})
}

// keep writes the record if it is due: when keys or metadata changed, and about
// once a refresh so that its time moves on. Only the background calls it.
func (e *Engine) keep() {
	lease, value, fetchedAt, err := e.dueRecord()
	if err == nil && value == nil {
		return
	}
	if err == nil {
		err = lease.Store(lease.Context(), e.cfg.storageKey(), value)
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
func (e *Engine) dueRecord() (lease *storage.Lease[func(Event)], value []byte, fetchedAt time.Time, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	lease, jwks, fetchedAt := e.leases.Newest(), e.jwks.Load(), e.keys.fetchedAt
	if lease == nil || !lease.HasStorage() || e.cfg.JWKSFile != "" || jwks == nil || len(jwks.keys) == 0 || e.keys.restored || e.restoring != nil {
		return nil, nil, fetchedAt, nil
	}
	old := fetchedAt.Sub(e.record.fetchedAt) >= e.cfg.Refresh*8/10
	if !old && !e.record.changed || e.now().Before(e.record.retryAt) {
		return nil, nil, fetchedAt, nil
	}
	e.record.changed = false
	rec := record{Issuer: e.cfg.Issuer, Source: e.cfg.shown(), FetchedAt: fetchedAt.UTC(), Metadata: e.metadata.known}
	published := jwks.filter(func(k *Key) bool { _, absent := e.flaps.absent[k]; return !absent })
	if rec.KeySet, err = published.encode(); err == nil {
		value, err = json.Marshal(rec)
	}
	return lease, value, fetchedAt, err
}
