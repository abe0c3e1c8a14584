package account

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

var (
	errGone   = errors.New("the revision record cannot be had, though it could: storage is down, or lost it; if it stays so: caddy gatehouse service-account repair")
	errOrphan = errors.New("storage holds accounts, but no revision record of them can be read")
)

// reading is what storage holds as the revision.
type reading struct {
	raw      []byte    // of the revision record; nil: it cannot be read
	rev      *revision // nil: nothing is stored yet
	fromCopy bool
}

// readHead reads the revision record, or its copy if that is damaged or gone.
func (k *keeper) readHead() (reading, error) {
	found, why := k.readRevision()
	if why == nil && k.head == nil {
		return k.preferCopy(found), nil
	}
	if why == nil || errors.Is(why, storage.ErrNoAnswer) || errors.Is(why, storage.ErrStuck) || k.h.Context().Err() != nil {
		return found, why
	}
	copied, copyErr := k.h.Load(k.h.Context(), copyKey)
	if copyErr == nil {
		var rev *revision
		if rev, copyErr = parseRevision(copied); copyErr == nil {
			// The storage answers. If the record still cannot be had, it is lost.
			if found, why = k.readRevision(); why != nil {
				k.damage(revisionKey, why)
				found.rev, found.fromCopy = rev, true
			}
			return found, nil
		}
	}
	return found, k.confirmNone(found, why)
}

// preferCopy is for a node that knows nothing yet. Where the copy follows the
// record, that is older than it was: a storage went back in time with one of them.
func (k *keeper) preferCopy(found reading) reading {
	copied, err := k.h.Load(k.h.Context(), copyKey)
	if err != nil {
		return found
	}
	if rev, err := parseRevision(copied); err == nil && rev.ID != found.rev.ID && rev.contains(found.rev) {
		k.r.note(Event{Kind: Older})
		found.rev, found.fromCopy = rev, true
	}
	return found
}

// readRevision reads the revision record itself. A storage that is not atomic
// may show half of one for a moment, so a damaged one is looked at again.
func (k *keeper) readRevision() (found reading, why error) {
	for try := range 3 {
		raw, err := k.h.Load(k.h.Context(), revisionKey)
		if err != nil {
			return reading{}, err
		}
		if k.read != nil && !k.mend && bytes.Equal(raw, k.raw) {
			return reading{raw: raw, rev: k.read}, nil
		}
		rev, damage := parseRevision(raw)
		if damage == nil {
			k.mended(revisionKey)
			return reading{raw: raw, rev: rev}, nil
		}
		found, why = reading{raw: raw}, fmt.Errorf("%w: %w", ErrDamaged, damage)
		if err := k.pause(try); err != nil {
			return reading{}, err
		}
	}
	return found, why
}

// confirmNone returns nil only if nothing is stored yet. That a record is not
// found says little: some storages answer so while they are down.
func (k *keeper) confirmNone(found reading, why error) error {
	keys, err := list(k.h)
	switch {
	case err != nil && k.head != nil:
		return fmt.Errorf("%w (%w, and %w)", errGone, why, err)
	case err != nil:
		return fmt.Errorf("%w, and %w", why, err)
	case k.head != nil && len(keys) == 0:
		return fmt.Errorf("%w (%w)", ErrEmptied, why)
	case k.head != nil:
		return fmt.Errorf("%w (%w)", errGone, why)
	}
	for _, key := range keys {
		if shardKeyForm.MatchString(key) || key == revisionKey && found.raw == nil {
			return fmt.Errorf("%w (%w)", errOrphan, why)
		}
	}
	return nil
}

// pause waits a moment, longer at each try; it fails when the host is gone.
func (k *keeper) pause(try int) error { return storage.Pause(k.h.Context(), 20*time.Millisecond<<try) }
