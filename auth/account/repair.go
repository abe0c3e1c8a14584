package account

import (
	"fmt"
	"sync"
)

// repair writes again what is damaged or gone in storage, as an operator asked.
// It adds to forced the shards that need a record of other content, because the
// content of the one named is not known here. The lock is held.
func (k *keeper) repair(req *request, forced []int) ([]int, error) {
	if k.head == nil {
		return forced, nil
	}
	var mu sync.Mutex // guards forced and req.mended
	now := k.r.current.Load()
	err := each(shardCount, func(i int) error {
		digest := k.head.digests[i]
		if digest == "" {
			return nil
		}
		key := shardKey(i, digest)
		if _, err := k.h.loadShard(i, digest, nil); err == nil {
			return nil
		}
		known := now.shards[i]
		if known.digest() == digest {
			record, _ := encodeShard(i, known.origin.Seq, known.origin.Revision, known.accounts)
			if err := k.h.storeChecked(key, record); err != nil {
				return err
			}
		} else if err := k.keepAside(i, digest); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		req.mended = append(req.mended, key)
		if known.digest() != digest {
			forced = append(forced, i)
		}
		return nil
	})
	if k.mend {
		req.mended = append(req.mended, revisionKey)
	}
	return forced, err
}

// keepAside copies what can be read of a damaged record, for people to look at.
func (k *keeper) keepAside(i int, digest string) error {
	damaged, err := k.h.load(shardKey(i, digest))
	if err != nil || len(damaged) == 0 {
		return nil // nothing to keep
	}
	return k.h.storeChecked(asideKey(i, digest), damaged)
}

// proveEmptied makes sure that a storage without the revision record is not just
// down: a record of its own can be read before and after that one cannot. What is
// known here is then to be written anew.
func (k *keeper) proveEmptied() error {
	if err := k.h.storeChecked(probeKey, []byte("ok\n")); err != nil {
		return err
	}
	found, err := k.readHead()
	if err == nil {
		return errRaced // it is there after all
	}
	if _, err := k.h.load(probeKey); err != nil {
		return fmt.Errorf("reading %s: %w", probeKey, err)
	}
	_ = k.h.delete(probeKey) // of no use any more, and no harm
	k.raw, k.read, k.mend = found.raw, nil, true
	return nil
}
