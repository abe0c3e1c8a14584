package account

import (
	"iter"
	"math/bits"
)

// table finds accounts by a hash of each: open addressing with linear probing,
// by buckets. What a look-up among very many accounts costs is the memory that it
// touches for the first time; here that is one bucket, the account and its text,
// and hardly ever an account that is not meant. It takes 11 bytes an account,
// where slots of a hash and a pointer take 24.
type table []bucket

// bucket is as long as a line of a processor's cache.
type bucket struct {
	marks    [bucketSize]uint8 // a part of each hash
	accounts [bucketSize]*Account
}

const bucketSize = 7

func newTable(accounts []*Account, hashOf func(*Account) uint64) table {
	t := make(table, len(accounts)/(bucketSize-1)+1) // at least one place is free
	for _, a := range accounts {
		t.add(hashOf(a), a)
	}
	return t
}

func (t table) add(h uint64, a *Account) {
	at, mark := t.begin(h)
	for ; ; at = t.after(at) {
		for i := range bucketSize {
			if b := &t[at]; b.accounts[i] == nil {
				b.marks[i], b.accounts[i] = mark, a
				return
			}
		}
	}
}

// at yields the accounts that may have that hash.
func (t table) at(h uint64) iter.Seq[*Account] {
	return func(yield func(*Account) bool) {
		for at, mark := t.begin(h); ; at = t.after(at) {
			for i, a := range &t[at].accounts {
				if a == nil || t[at].marks[i] == mark && !yield(a) {
					return
				}
			}
		}
	}
}

// begin is where a hash is looked for first, and the mark that it leaves. The
// hash's first byte, which is the same in all of a shard, is for neither.
func (t table) begin(h uint64) (at int, mark uint8) {
	first, _ := bits.Mul64(h<<8, uint64(len(t))) // spreads all of 64 bits over the buckets
	return int(first), uint8(h)                  //nolint:gosec // below len(t); the last byte is meant
}

func (t table) after(at int) int {
	if at++; at < len(t) {
		return at
	}
	return 0
}
