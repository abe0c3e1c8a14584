package registry

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/google/uuid"
)

// shardCount is part of the stored format. More shards make a change cheaper, which
// rewrites one of them, and loading dearer, which reads all. Of a million accounts
// each of 256 records takes about half a megabyte, written in some 20 ms.
const shardCount = 256

// shardName names a shard in keys, records and errors: 00 to ff.
func shardName(i int) string { return hex.EncodeToString([]byte{byte(i)}) }

// shard is one part of the records. It never changes once built.
type shard[K comparable, R any] struct {
	kind    *Kind[K, R]
	origin  origin
	records []*R // in order
	ending  []*R // those that end, by when
	table   table[R]
	ids     func() table[R] // made when it is asked for first, as it seldom is
	summary any
}

// origin tells which record of storage holds the shard's content; zero: none yet.
type origin struct {
	Seq      uint64 // of the revision it was written for
	Revision string // the id of that
	Digest   string // of the record; part of its key
}

// newShard makes a shard of sorted records, which it keeps. The table of ids is made
// when a record is first looked for by its id, which only people do: for a million
// accounts that takes a second and 11 MB.
func newShard[K comparable, R any](k *Kind[K, R], records []*R, from origin) *shard[K, R] {
	s := &shard[K, R]{
		kind: k, origin: from, records: records,
		table: newTable(records, func(r *R) uint64 { return k.Hash(k.Key(r)) }),
		ids: sync.OnceValue(func() table[R] {
			return newTable(records, func(r *R) uint64 { id := k.ID(r); return binary.BigEndian.Uint64(id[:]) })
		}),
	}
	for _, r := range records {
		if k.Ends(r) != 0 {
			s.ending = append(s.ending, r)
		}
	}
	slices.SortFunc(s.ending, func(a, b *R) int { return cmp.Compare(k.Ends(a), k.Ends(b)) })
	if k.Summarize != nil {
		s.summary = k.Summarize(records)
	}
	return s
}

// find returns the record with the key, whose hash is h; nil: none.
func (s *shard[K, R]) find(h uint64, key K) *R {
	if s == nil {
		return nil
	}
	p := s.table.begin(h)
	for r := s.table.next(&p); r != nil; r = s.table.next(&p) {
		if s.kind.Is(r, key) {
			return r
		}
	}
	return nil
}

// like are the records that match among those whose hash may be h, in order.
func (s *shard[K, R]) like(h uint64, match func(*R) bool) (found []*R) {
	if s == nil {
		return nil
	}
	p := s.table.begin(h)
	for r := s.table.next(&p); r != nil; r = s.table.next(&p) {
		if match(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, s.kind.Compare)
	return found
}

// findID returns the record with the id; nil: none.
func (s *shard[K, R]) findID(id uuid.UUID) *R {
	if s == nil || s.kind.ID == nil {
		return nil
	}
	ids := s.ids()
	p := ids.begin(binary.BigEndian.Uint64(id[:])) // the id is a digest already
	for r := ids.next(&p); r != nil; r = ids.next(&p) {
		if s.kind.ID(r) == id {
			return r
		}
	}
	return nil
}

// endedBetween are the records that end after from, until to.
func (s *shard[K, R]) endedBetween(from, to time.Time) []*R {
	if s == nil {
		return nil
	}
	return s.ending[s.endedAt(from):max(s.endedAt(to), s.endedAt(from))]
}

// endedAt counts the records that have ended.
func (s *shard[K, R]) endedAt(t time.Time) int {
	at := t.Unix()
	return sort.Search(len(s.ending), func(i int) bool { return s.kind.Ends(s.ending[i]) > at })
}

// members are the records of a shard that may be nil, sorted.
func (s *shard[K, R]) members() []*R {
	if s == nil {
		return nil
	}
	return s.records
}

// with makes the sorted records of a shard, which may be nil, after changes: what each
// became, nil for deleted.
func (k *Kind[K, R]) with(s *shard[K, R], changes map[K]*R) []*R {
	next := make([]*R, 0, len(s.members())+len(changes))
	for _, r := range s.members() {
		if _, changed := changes[k.Key(r)]; !changed {
			next = append(next, r)
		}
	}
	for _, r := range changes {
		if r != nil {
			next = append(next, r)
		}
	}
	slices.SortFunc(next, k.Compare)
	return next
}

// share replaces records by equal ones of old, so that those that did not change are
// in memory once.
func (k *Kind[K, R]) share(fresh []*R, old *shard[K, R]) {
	for i, r := range fresh {
		key := k.Key(r)
		if known := old.find(k.Hash(key), key); known != nil && k.Equal(known, r) {
			fresh[i] = known
		}
	}
}

// difference lists what became of the records of one shard.
func (k *Kind[K, R]) difference(old, fresh *shard[K, R]) []Changed[R] {
	var changed []Changed[R]
	before, after := old.members(), fresh.members()
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && k.Compare(before[0], after[0]) < 0:
			changed = append(changed, Changed[R]{Before: before[0]})
			before = before[1:]
		case len(before) == 0 || k.Compare(after[0], before[0]) < 0:
			changed = append(changed, Changed[R]{After: after[0]})
			after = after[1:]
		default:
			if before[0] != after[0] && !k.Equal(before[0], after[0]) {
				changed = append(changed, Changed[R]{Before: before[0], After: after[0]})
			}
			before, after = before[1:], after[1:]
		}
	}
	return changed
}

// digest names the record of a shard that may be nil.
func (s *shard[K, R]) digest() string {
	if s == nil {
		return ""
	}
	return s.origin.Digest
}

// encode makes the record that the shard was read from.
func (s *shard[K, R]) encode(i int) []byte {
	record, _ := s.kind.encode(i, s.origin.Seq, s.origin.Revision, s.records)
	return record
}

// table finds records by a hash of each: open addressing with linear probing, in
// buckets. Among very many records, what a look-up costs is reading memory that is
// in no cache of the processor: here that is one bucket, the record and its text,
// and hardly ever another record. (A binary search in the sorted records reads a
// dozen of each.) It takes 11 bytes a record, where slots of a hash and a pointer
// take 24.
type table[R any] []bucket[R]

// bucket is as long as a line of a processor's cache.
type bucket[R any] struct {
	marks   [bucketSize]uint8 // a part of each hash
	records [bucketSize]*R
}

const bucketSize = 7

func newTable[R any](records []*R, hashOf func(*R) uint64) table[R] {
	t := make(table[R], len(records)/(bucketSize-1)+1) // at least one place is free
	for _, r := range records {
		p := t.begin(hashOf(r))
		for slices.Index(t[p.bucket].records[:], nil) < 0 {
			p.bucket = (p.bucket + 1) % len(t)
		}
		i := slices.Index(t[p.bucket].records[:], nil)
		t[p.bucket].marks[i], t[p.bucket].records[i] = p.mark, r
	}
	return t
}

// place is how far a look-up has come.
type place struct {
	bucket, next int
	mark         uint8
}

// begin gives the first place for a hash. The first byte of the hash, which is the
// same in all of a shard, is not used.
func (t table[R]) begin(h uint64) place {
	first, _ := bits.Mul64(h<<8, uint64(len(t)))     // spreads all of 64 bits over the buckets
	return place{bucket: int(first), mark: uint8(h)} //nolint:gosec // below len(t); the last byte is meant
}

// next gives the next record that may have the hash; nil: there is none any more.
func (t table[R]) next(p *place) *R {
	for {
		b := &t[p.bucket]
		for p.next < bucketSize {
			i := p.next
			p.next++
			if b.records[i] == nil {
				return nil
			}
			if b.marks[i] == p.mark {
				return b.records[i]
			}
		}
		p.next = 0
		if p.bucket++; p.bucket == len(t) {
			p.bucket = 0
		}
	}
}
