package account

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"math/bits"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// shardCount is part of the stored format. More shards make a change cheaper, which
// rewrites one of them, and loading dearer, which reads all. Of a million accounts
// each of 256 records takes about half a megabyte, written in some 20 ms.
const shardCount = 256

// hash assigns subjects to shards by its top byte, so it is part of the stored
// format, too. The rest finds the account in the shard's table. Accounts of one
// subject are in one shard, whatever their issuers.
func hash(subject string) uint64 { return xxhash.Sum64String(subject) }

func shardOf(subject string) int { return int(hash(subject) >> 56) }

// shardName names a shard in keys, records and errors: 00 to ff.
func shardName(i int) string { return hex.EncodeToString([]byte{byte(i)}) }

// shard is one part of the accounts. It never changes once built.
type shard struct {
	origin   origin
	accounts []*Account // by subject and issuer
	active   int        // of them by status
	expiring []*Account // the active ones that expire, by when
	subjects table
	ids      func() table          // made when it is asked for first, as it seldom is
	issuers  func() map[Issuer]int // likewise: the accounts of each
}

// origin tells which record holds the shard's content; zero: none yet.
type origin struct {
	Seq      uint64 // of the revision it was written for
	Revision string // the id of that
	Digest   string // of the record; part of its key
}

// newShard makes a shard of sorted accounts, which it keeps. The table of ids is
// made when an account is first looked for by its id, which only people do: for a
// million accounts that takes a second and 11 MB.
func newShard(accounts []*Account, from origin) *shard {
	s := &shard{
		origin: from, accounts: accounts,
		subjects: newTable(accounts, func(a *Account) uint64 { return hash(a.Subject()) }),
		ids: sync.OnceValue(func() table {
			return newTable(accounts, func(a *Account) uint64 { id := a.uuid(); return binary.BigEndian.Uint64(id[:]) })
		}),
		issuers: sync.OnceValue(func() map[Issuer]int {
			counts := map[Issuer]int{}
			for _, a := range accounts {
				counts[Issuer{a.Issuer(), a.Identifier()}]++
			}
			return counts
		}),
	}
	for _, a := range accounts {
		if !a.inactive() {
			s.active++
			if a.expires != 0 {
				s.expiring = append(s.expiring, a)
			}
		}
	}
	slices.SortFunc(s.expiring, func(a, b *Account) int { return cmp.Compare(a.expires, b.expires) })
	return s
}

// find returns the account with the key, whose subject's hash is h; nil: none.
func (s *shard) find(h uint64, key Key) *Account {
	if s == nil {
		return nil
	}
	for a := range s.subjects.at(h) {
		if a.isKey(key) {
			return a
		}
	}
	return nil
}

// named are the accounts with the subject, whose hash is h, by issuer.
func (s *shard) named(h uint64, subject string) (named []*Account) {
	if s == nil {
		return nil
	}
	for a := range s.subjects.at(h) {
		if a.is(subject) {
			named = append(named, a)
		}
	}
	slices.SortFunc(named, byKey)
	return named
}

// findID returns the account with the id; nil: none.
func (s *shard) findID(id uuid.UUID) *Account {
	if s == nil {
		return nil
	}
	for a := range s.ids().at(binary.BigEndian.Uint64(id[:])) { // the id is a digest already
		if a.uuid() == id {
			return a
		}
	}
	return nil
}

// expiredBetween are the accounts that expire after from, until to.
func (s *shard) expiredBetween(from, to time.Time) []*Account {
	if s == nil {
		return nil
	}
	return s.expiring[s.expiredAt(from):max(s.expiredAt(to), s.expiredAt(from))]
}

// expiredAt counts the accounts whose status is active, but that have expired.
func (s *shard) expiredAt(t time.Time) int {
	at := t.Unix()
	return sort.Search(len(s.expiring), func(i int) bool { return s.expiring[i].expires > at })
}

// members are the accounts of a shard that may be nil, sorted.
func (s *shard) members() []*Account {
	if s == nil {
		return nil
	}
	return s.accounts
}

// with makes the sorted accounts of the shard after changes: what each account
// became, nil for deleted.
func (s *shard) with(changes map[Key]*Account) []*Account {
	next := make([]*Account, 0, len(s.members())+len(changes))
	for _, a := range s.members() {
		if _, changed := changes[a.Key()]; !changed {
			next = append(next, a)
		}
	}
	for _, a := range changes {
		if a != nil {
			next = append(next, a)
		}
	}
	slices.SortFunc(next, byKey)
	return next
}

func byKey(a, b *Account) int { return a.Key().compare(b.Key()) }

// share replaces accounts by equal ones of old, so that unchanged accounts are in
// memory once.
func share(fresh []*Account, old *shard) {
	for i, a := range fresh {
		key := a.Key()
		if known := old.find(hash(key.Subject), key); known != nil && known.equal(a) {
			fresh[i] = known
		}
	}
}

// digest names the record of a shard that may be nil.
func (s *shard) digest() string {
	if s == nil {
		return ""
	}
	return s.origin.Digest
}

// encode makes the record that the shard was read from.
func (s *shard) encode(i int) []byte {
	record, _ := encodeShard(i, s.origin.Seq, s.origin.Revision, s.accounts)
	return record
}

// table finds accounts by a hash of each: open addressing with linear probing, in
// buckets. Among very many accounts, what a look-up costs is reading memory that is
// in no cache of the processor: here that is one bucket, the account and its text,
// and hardly ever another account. (A binary search in the sorted accounts reads a
// dozen of each.) It takes 11 bytes an account, where slots of a hash and a pointer
// take 24.
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
		at, mark := t.begin(hashOf(a))
		for slices.Index(t[at].accounts[:], nil) < 0 {
			at = (at + 1) % len(t)
		}
		i := slices.Index(t[at].accounts[:], nil)
		t[at].marks[i], t[at].accounts[i] = mark, a
	}
	return t
}

// at yields the accounts that may have that hash.
func (t table) at(h uint64) iter.Seq[*Account] {
	return func(yield func(*Account) bool) {
		for at, mark := t.begin(h); ; at++ {
			if at == len(t) {
				at = 0
			}
			for i, a := range &t[at].accounts {
				if a == nil || t[at].marks[i] == mark && !yield(a) {
					return
				}
			}
		}
	}
}

// begin gives the first bucket for a hash, and its mark there. The first byte of the
// hash, which is the same in all of a shard, is used for neither.
func (t table) begin(h uint64) (at int, mark uint8) {
	first, _ := bits.Mul64(h<<8, uint64(len(t))) // spreads all of 64 bits over the buckets
	return int(first), uint8(h)                  //nolint:gosec // below len(t); the last byte is meant
}
