package registry

import (
	"regexp"

	"github.com/google/uuid"
)

// Kind says what the records of a registry are. K tells them apart; records are
// handled as *R, and never change once made. All functions may be called at the same
// time. A kind must not change once a registry is made of it.
type Kind[K comparable, R any] struct {
	// Folder is where the records are in storage, such as gatehouse/accounts. Only
	// [a-z0-9._/-] is safe on every storage.
	Folder string
	// Lock is the name of the lock under which they are changed.
	Lock string
	// Plural names them in the head of a shard's record, where it counts them. It is
	// part of the stored format.
	Plural string
	// Repair is the command that puts storage right, for errors.
	Repair string
	// Emptied and Diverged are the errors of a storage that holds nothing of what it
	// held, and of one that holds records which were begun without those known here.
	// nil: [ErrEmptied] and [ErrDiverged].
	Emptied, Diverged error

	// Hash assigns keys to shards by its top byte, so it is part of the stored format.
	// Records with the same hash are found together, and are in one shard.
	Hash func(K) uint64
	// Key is the record's. It never changes.
	Key func(*R) K
	// Is reports whether the record has that key. nil: by Key.
	Is func(*R, K) bool
	// Compare orders records: it is 0 only for those of one key.
	Compare func(a, b *R) int
	// Equal reports whether all of two records is equal.
	Equal func(a, b *R) bool
	// ID is what else a record is found by. nil: it has none.
	ID func(*R) uuid.UUID
	// Updated is when the record was last changed, in Unix seconds. Where two nodes
	// changed it without each other the later one counts. nil: neither is later.
	Updated func(*R) int64
	// Restricts reports whether the record lets in less than others of its key: of two
	// that were changed in the same second it counts. nil: no record does.
	Restricts func(*R) bool
	// Ends is when the record is over, in Unix seconds; 0: never. nil: none ever is.
	Ends func(*R) int64
	// Leaves says that records which are over are removed from storage, an hour or so
	// later. Until then look-ups find them.
	Leaves bool
	// Unites says that records only ever restrict, so that states which came to be
	// without each other may be united, and a storage that was emptied be filled again,
	// without asking an operator.
	Unites bool

	// Append appends the record to b as a line of JSON, without the line feed. The same
	// record always makes the same bytes.
	Append func(b []byte, r *R) []byte
	// Reader makes what reads the lines of one shard, in order. It must be strict, and
	// keep nothing of a line. Its errors go on from the number of the line, and quote
	// nothing of it.
	Reader func() func(line []byte) (*R, error)
	// Summarize counts what is worth counting of the records of a shard, once for each.
	// nil: nothing is.
	Summarize func([]*R) any
}

// complete makes the kind with all that was left out of it.
func (k Kind[K, R]) complete() *Kind[K, R] {
	if k.Emptied == nil {
		k.Emptied = ErrEmptied
	}
	if k.Diverged == nil {
		k.Diverged = ErrDiverged
	}
	if key := k.Key; k.Is == nil {
		k.Is = func(r *R, is K) bool { return key(r) == is }
	}
	if k.Updated == nil {
		k.Updated = func(*R) int64 { return 0 }
	}
	if k.Restricts == nil {
		k.Restricts = func(*R) bool { return false }
	}
	if k.Ends == nil {
		k.Ends = func(*R) int64 { return 0 }
	}
	return &k
}

func (k *Kind[K, R]) shardOf(key K) int { return int(k.Hash(key) >> 56) }

// folder is where the records of a kind are in storage. Only [a-z0-9._/-] is safe on
// every storage, so what a record holds is never part of a key.
type folder string

func (f folder) revision() string { return string(f) + "/revision.json" }

func (f folder) copied() string { return string(f) + "/revision.copy.json" }

func (f folder) probe() string { return string(f) + "/probe.txt" }

func (f folder) shard(i int, digest string) string {
	return string(f) + "/shard-" + shardName(i) + "-" + digest + ".json"
}

// damaged is where what can be read of a damaged record is kept aside.
func (f folder) damaged(i int, digest string) string {
	return string(f) + "/damaged-" + shardName(i) + "-" + digest + ".json"
}

var shardForm = regexp.MustCompile(`^/shard-([0-9a-f]{2})-([0-9a-f]{32})\.json$`)

func (f folder) isShard(key string) bool {
	return len(key) > len(f) && key[:len(f)] == string(f) && shardForm.MatchString(key[len(f):])
}

// isOurs reports whether the key is one of the records: a listing may hold temporary
// files.
func (f folder) isOurs(key string) bool {
	return key == f.revision() || key == f.copied() || f.isShard(key)
}
