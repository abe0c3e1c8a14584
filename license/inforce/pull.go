package inforce

import (
	"errors"
	"io/fs"
	"time"
)

// pull looks at the license in storage.
func (k *Keeper) pull() time.Duration {
	h, attached := k.current()
	if h == nil {
		if attached {
			k.failLook(errNoStorage)
		}
		return idle
	}
	k.mu.Lock()
	writes, absent := k.search.writes, k.search.absent
	k.mu.Unlock()
	data, err := k.fetch(h, absent)
	if h.ctx.Err() != nil {
		return 0 // it detached meanwhile; perhaps another one is there
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.failLook(err)
		return spread(h.host.Refresh)
	}
	k.outage(lookTopic, nil)
	if k.look(sighting{data, err}, writes) {
		return spread(h.host.Refresh)
	}
	return min(h.host.Refresh, secondLook)
}

// fetch loads the license. That there is none is made sure of if it is news.
func (k *Keeper) fetch(h *hosting, absent bool) ([]byte, error) {
	if absent {
		return h.vault.load(h.ctx, installedKey)
	}
	return h.vault.find(h.ctx, installedKey)
}

// failLook ends a look that came to nothing.
func (k *Keeper) failLook(err error) {
	k.outage(lookTopic, err)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endLook()
}
