package usage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// folder keeps the records; no other folder's name begins like it.
const folder = "gatehouse/usage"

const (
	// pollEvery is how many refresh intervals lie between two looks at all records.
	pollEvery = 10
	idle      = time.Hour
	// parallel bounds the calls of storage at once.
	parallel = 4
	// flushLimit bounds the last writes of a configuration.
	flushLimit = 2 * time.Second
)

func (c *Counter) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		case <-c.bell:
			if c.read.Load() && c.pause() != nil {
				return
			}
		}
		timer.Reset(c.sync())
	}
}

// pause gathers those who come together, so that they are written together.
func (c *Counter) pause() error {
	wait := 10 * time.Millisecond
	if h := c.leases.Newest(); h != nil {
		wait = h.Host.Refresh / 4
	}
	return storage.Pause(c.ctx, wait)
}

// sync brings memory and storage together, and says when to do so next.
func (c *Counter) sync() time.Duration {
	h := c.leases.Newest()
	if h == nil {
		return idle
	}
	every := storage.Spread(h.Host.Refresh, 0.1)
	if !h.Host.Counts() {
		return every
	}
	err := c.syncWith(h)
	if h.Context().Err() != nil {
		return 0 // it detached meanwhile; perhaps another one is there
	}
	if c.read.CompareAndSwap(false, true) {
		close(c.first)
	}
	if (err != nil) != c.away && h.Host.Unavailable != nil {
		h.Host.Unavailable(err)
	}
	c.away = err != nil
	return every
}

func (c *Counter) syncWith(h *storage.Lease[Host]) error {
	if c.secret.Load() == nil {
		secret, err := h.Host.Secret(h.Context())
		if err != nil {
			return err
		}
		c.secret.Store(&secret)
	}
	all := c.now().Sub(c.polled).Abs() >= pollEvery*h.Host.Refresh
	err := c.syncShards(h.Context(), h, all)
	if err == nil && all {
		c.polled = c.now()
	}
	return err
}

// flush writes who is new before the storage goes.
func (c *Counter) flush(h *storage.Lease[Host]) {
	ctx, cancel := context.WithTimeout(h.Context(), flushLimit)
	defer cancel()
	if err := c.syncShards(ctx, h, false); err != nil && h.Host.Unavailable != nil {
		h.Host.Unavailable(err)
	}
}

// syncShards brings all shards together with storage, or those alone that owe it
// something.
func (c *Counter) syncShards(ctx context.Context, h *storage.Lease[Host], all bool) error {
	return storage.Each(shards, parallel, func(number int) error {
		s := &c.shards[number]
		s.mu.Lock()
		owes := s.owes
		s.mu.Unlock()
		if !owes && !all {
			return nil
		}
		return c.syncShard(ctx, h, number)
	})
}

// syncShard takes what storage has and writes what it lacks.
func (c *Counter) syncShard(ctx context.Context, h *storage.Lease[Host], number int) error {
	key := fmt.Sprintf("%s/people-%x.bin", folder, number)
	data, err := h.Load(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	stored, err := decode(data, number)
	if err != nil {
		stored = nil // there is none, or it is damaged, and is written anew
	}
	mine := c.merge(number, stored)
	if len(mine) == 0 && len(data) == 0 {
		return nil
	}
	if next := encode(mine); !bytes.Equal(next, data) {
		if err := h.StoreChecked(ctx, key, next); err != nil && !errors.Is(err, storage.ErrReadBack) {
			s := &c.shards[number]
			s.mu.Lock()
			defer s.mu.Unlock()
			s.owes = true
			return err
		}
		// What another node wrote at the same time is found at the next look, and so
		// is what it overwrote.
	}
	return nil
}

// merge takes in who was seen elsewhere, forgets who was not seen for long, and gives
// all who count.
func (c *Counter) merge(number int, stored map[person]uint32) map[person]uint32 {
	s, today := &c.shards[number], c.today()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.seen)
	for who, last := range stored {
		if last = min(last, today+1); last > s.seen[who] { // a clock may be ahead
			s.seen[who] = last
		}
	}
	all := make(map[person]uint32, len(s.seen))
	for who, last := range s.seen {
		if last+Days < today {
			delete(s.seen, who)
			continue
		}
		all[who] = last
	}
	s.owes = false
	c.count.Add(int64(len(s.seen) - before))
	return all
}

// A record holds the people of one shard: a line that says what it is, and then for
// each person the hash and the day, big-endian, sorted.
const (
	recordHead  = "gatehouse-people/1\n"
	entrySize   = hashSize + 4
	maxPerShard = 2 * MaxPeople / shards
)

var errDamaged = errors.New("damaged: want people and days")

func encode(seen map[person]uint32) []byte {
	people := slices.SortedFunc(maps.Keys(seen), func(a, b person) int { return slices.Compare(a[:], b[:]) })
	data := make([]byte, 0, len(recordHead)+len(people)*entrySize)
	data = append(data, recordHead...)
	for _, who := range people {
		data = append(data, who[:]...)
		data = binary.BigEndian.AppendUint32(data, seen[who])
	}
	return data
}

// decode reads a record of the shard of that number.
func decode(data []byte, number int) (map[person]uint32, error) {
	entries := len(data) - len(recordHead)
	if entries < 0 || string(data[:len(recordHead)]) != recordHead || entries%entrySize != 0 || entries/entrySize > maxPerShard {
		return nil, errDamaged
	}
	seen := make(map[person]uint32, entries/entrySize)
	for rest := data[len(recordHead):]; len(rest) > 0; rest = rest[entrySize:] {
		who := person(rest[:hashSize])
		if int(who[0]>>4) != number {
			return nil, errDamaged
		}
		seen[who] = binary.BigEndian.Uint32(rest[hashSize:entrySize])
	}
	return seen, nil
}
