package registry

import (
	"math/bits"
	"slices"
)

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
