package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
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

// What is in the folder of a kind beside the records of its shards. Only [a-z0-9._/-] is
// safe on every storage, so what a record holds is never part of a key.
const (
	revisionFile = "/revision.json"
	copyFile     = "/revision.copy.json"
	probeFile    = "/probe.txt"
)

// shardKey is where the record of a shard is.
func (k *Kind[K, R]) shardKey(i int, digest string) string {
	return k.Folder + "/shard-" + shardName(i) + "-" + digest + ".json"
}

var shardForm = regexp.MustCompile(`^/shard-[0-9a-f]{2}-[0-9a-f]{32}\.json$`)

func (k *Kind[K, R]) isShardKey(key string) bool {
	file, ok := strings.CutPrefix(key, k.Folder)
	return ok && shardForm.MatchString(file)
}

const (
	maxRevision  = 64 << 10
	maxShard     = 256 << 20
	digestLength = 32 // hexadecimal digits of the checksum that name a record
)

// seal puts a checksum in front of a body. A record is one line, with what it
// is, the version of its form and the SHA-256 of the rest, and then the rest.
func seal(kind string, body []byte) (record []byte, digest string) {
	sum := sha256.Sum256(body)
	digest = hex.EncodeToString(sum[:])
	record = make([]byte, 0, len(kind)+len(digest)+len(body)+32)
	record = fmt.Appendf(record, "gatehouse %s 1 %s\n", kind, digest)
	return append(record, body...), digest[:digestLength]
}

// unseal takes the body out of a record if its checksum fits.
func unseal(kind string, record []byte, limit int) (body []byte, digest string, err error) {
	if len(record) > limit {
		return nil, "", fmt.Errorf("it has %d bytes; want at most %d", len(record), limit)
	}
	head, body, found := bytes.Cut(record, []byte("\n"))
	prefix := "gatehouse " + kind + " 1 "
	if !found || !bytes.HasPrefix(head, []byte(prefix)) {
		return nil, "", fmt.Errorf("its first line is not that of a %s of version 1", kind)
	}
	sum := sha256.Sum256(body)
	digest = hex.EncodeToString(sum[:])
	if string(head[len(prefix):]) != digest {
		return nil, "", errors.New("its checksum does not fit its content")
	}
	return body, digest[:digestLength], nil
}

// The body of a shard's record is a line about the shard and then a line for each of
// its records, in order, so that a person can read it.

// encode makes the record of the shard, which has that number. The same content always
// makes the same bytes.
func (s *shard[K, R]) encode(i int) (record []byte, digest string) {
	b := make([]byte, 0, 128+len(s.records)*192)
	b = fmt.Appendf(b, `{"shard":"%s","seq":%d,"revision":"%s","%s":%d}`+"\n", shardName(i), s.seq, s.revision, s.kind.Plural, len(s.records))
	for _, r := range s.records {
		b = append(s.kind.Append(b, r), '\n')
	}
	return seal("shard", b)
}

// parse reads the record of the shard with that number. Its errors go on from the
// name of the record, and quote nothing of it. Nothing of the record stays in memory.
// Records that did not change are those of old, so that they are in memory once.
func (k *Kind[K, R]) parse(i int, record []byte, old *shard[K, R]) (*shard[K, R], error) {
	body, digest, err := unseal("shard", record, maxShard)
	if err != nil {
		return nil, err
	}
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	var head struct {
		Shard    string         `json:"shard"`
		Seq      uint64         `json:"seq"`
		Revision string         `json:"revision"`
		Counts   map[string]int `json:",embed"`
	}
	if err := json.Unmarshal(first, &head, json.RejectUnknownMembers(true)); err != nil || len(head.Counts) > 1 {
		return nil, errors.New("its second line is not that of a shard")
	}
	lines := bytes.Count(rest, []byte("\n"))
	if count, ok := head.Counts[k.Plural]; !ok || count != lines || head.Shard != shardName(i) || !idForm.MatchString(head.Revision) {
		return nil, errors.New("its second line is that of another shard")
	}
	records := make([]*R, 0, lines)
	read := k.Reader()
	for n := range lines {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		r, err := read(line)
		switch {
		case err != nil:
		case int(k.Hash(k.Key(r))>>56) != i:
			err = errors.New("it belongs to another shard")
		case n > 0 && k.Compare(records[n-1], r) >= 0:
			err = errors.New("it is not in order")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+3, err)
		}
		key := k.Key(r)
		if known := old.find(k.Hash(key), key); known != nil && k.Equal(known, r) {
			r = known
		}
		records = append(records, r)
	}
	if len(rest) > 0 {
		return nil, errors.New("something follows the last line")
	}
	s := newShard(k, records, head.Seq, head.Revision)
	s.recordDigest = digest
	return s, nil
}

// AppendText appends a text, which must be valid UTF-8, to a line, for [Kind.Append].
func AppendText(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil {
		panic(err) // records hold valid UTF-8 only
	}
	return b
}

// AppendUnquoted appends what a text of a line says, for [Kind.Reader]; nothing if it
// was left out.
func AppendUnquoted(b []byte, v jsontext.Value) ([]byte, error) {
	if len(v) == 0 {
		return b, nil
	}
	return jsontext.AppendUnquote(b, v)
}

// EncodeShard makes the record that storage holds of some records, for the tests of a
// kind: they must be in order, and all of the shard with that number.
func (k Kind[K, R]) EncodeShard(number int, records []*R) []byte {
	record, _ := newShard(k.complete(), records, 3, "0123456789abcdef").encode(number)
	return record
}

// ParseShard reads such a record as it is read from storage.
func (k Kind[K, R]) ParseShard(number int, record []byte) ([]*R, error) {
	s, err := k.complete().parse(number, record, nil)
	return s.members(), err
}
