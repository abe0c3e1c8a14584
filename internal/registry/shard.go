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
	records []*R // in order
	ending  []*R // those that end, by when
	table   table[R]
	ids     func() table[R] // made when it is asked for first, as it seldom is
	summary any

	// Of the record in storage that holds this content:
	seq          uint64 // the number of the revision that it was written for
	revision     string // the id of that
	recordDigest string // part of its key; empty: there is none yet
}

// newShard makes a shard of sorted records, which it keeps. The table of ids is made
// when a record is first looked for by its id, which only people do: for a million
// accounts that takes a second and 11 MB.
func newShard[K comparable, R any](k *Kind[K, R], records []*R, seq uint64, revision string) *shard[K, R] {
	s := &shard[K, R]{
		kind: k, seq: seq, revision: revision, records: records,
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
	return s.table.find(h, func(r *R) bool { return s.kind.Is(r, key) })
}

// ended are the records that have ended, in that order.
func (s *shard[K, R]) ended(t time.Time) []*R {
	if s == nil {
		return nil
	}
	at := t.Unix()
	return s.ending[:sort.Search(len(s.ending), func(i int) bool { return s.kind.Ends(s.ending[i]) > at })]
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
	return s.recordDigest
}

// table finds records by a hash of each: open addressing with linear probing, in
// buckets. Among very many records, what a look-up costs is reading memory that is
// in no cache of the processor: here that is one bucket, the record and its text,
// and hardly ever another record. (A binary search in the sorted records reads a
// dozen of each.) It takes 11 bytes a record, where slots of a hash and a pointer
// take 24. A bucket is as long as a line of a processor's cache.
type table[R any] []struct {
	marks   [bucketSize]uint8 // a part of each hash
	records [bucketSize]*R
}

const bucketSize = 7

func newTable[R any](records []*R, hashOf func(*R) uint64) table[R] {
	t := make(table[R], len(records)/(bucketSize-1)+1) // at least one place is free
	for _, r := range records {
		at, mark := t.begin(hashOf(r))
		for slices.Index(t[at].records[:], nil) < 0 {
			at = (at + 1) % len(t)
		}
		i := slices.Index(t[at].records[:], nil)
		t[at].marks[i], t[at].records[i] = mark, r
	}
	return t
}

// begin gives the first bucket for a hash, and its mark. The first byte of the hash,
// which is the same in all of a shard, is not used.
func (t table[R]) begin(h uint64) (bucket int, mark uint8) {
	first, _ := bits.Mul64(h<<8, uint64(len(t))) // spreads all of 64 bits over the buckets
	return int(first), uint8(h)                  //nolint:gosec // below len(t); the last byte is meant
}

// find gives the first record that is meant among those that may have the hash; nil:
// none is.
func (t table[R]) find(h uint64, meant func(*R) bool) *R {
	for at, mark := t.begin(h); ; at = (at + 1) % len(t) {
		b := &t[at]
		for i, r := range &b.records {
			if r == nil {
				return nil
			}
			if b.marks[i] == mark && meant(r) {
				return r
			}
		}
	}
}
