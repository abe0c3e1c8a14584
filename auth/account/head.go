package account

import (
	"bytes"
	"errors"
	"fmt"
)

var (
	errGone   = errors.New("the revision record is not there, though it was: storage is down or was emptied")
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
	if why == nil || errors.Is(why, errNoAnswer) || errors.Is(why, errStuck) || k.h.ctx.Err() != nil {
		return found, why
	}
	copied, copyErr := k.h.load(copyKey)
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

// readRevision reads the revision record itself. A storage that is not atomic
// may show half of one for a moment, so a damaged one is looked at again.
func (k *keeper) readRevision() (found reading, why error) {
	for try := range 3 {
		raw, err := k.h.load(revisionKey)
		if err != nil {
			return reading{}, err
		}
		if k.read != nil && bytes.Equal(raw, k.raw) {
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
	if k.head != nil {
		return fmt.Errorf("%w (%w)", errGone, why)
	}
	keys, err := k.h.list()
	if err != nil {
		return fmt.Errorf("%w, and %w", why, err)
	}
	for _, key := range keys {
		if shardKeyForm.MatchString(key) || key == revisionKey && found.raw == nil {
			return fmt.Errorf("%w (%w)", errOrphan, why)
		}
	}
	return nil
}

// pause waits a moment, longer at each try; it fails when the host is gone.
func (k *keeper) pause(try int) error { return k.h.pause(try) }
