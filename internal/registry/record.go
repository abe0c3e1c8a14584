package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

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

// encode makes the record of the shard with that number. The same content always
// makes the same bytes.
func (k *Kind[K, R]) encode(i int, seq uint64, revision string, records []*R) (record []byte, digest string) {
	b := make([]byte, 0, 128+len(records)*192)
	b = fmt.Appendf(b, `{"shard":"%s","seq":%d,"revision":"%s","%s":%d}`+"\n", shardName(i), seq, revision, k.Plural, len(records))
	for _, r := range records {
		b = append(k.Append(b, r), '\n')
	}
	return seal("shard", b)
}

// parse reads the record of the shard with that number. Its errors go on from the
// name of the record, and quote nothing of it. Nothing of the record stays in memory.
func (k *Kind[K, R]) parse(i int, record []byte) ([]*R, origin, error) {
	body, digest, err := unseal("shard", record, maxShard)
	if err != nil {
		return nil, origin{}, err
	}
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	var head struct {
		Shard    string         `json:"shard"`
		Seq      uint64         `json:"seq"`
		Revision string         `json:"revision"`
		Counts   map[string]int `json:",embed"`
	}
	if err := json.Unmarshal(first, &head, json.RejectUnknownMembers(true)); err != nil || len(head.Counts) > 1 {
		return nil, origin{}, errors.New("its second line is not that of a shard")
	}
	lines := bytes.Count(rest, []byte("\n"))
	if count, ok := head.Counts[k.Plural]; !ok || count != lines || head.Shard != shardName(i) || !idForm.MatchString(head.Revision) {
		return nil, origin{}, errors.New("its second line is that of another shard")
	}
	records := make([]*R, 0, lines)
	read := k.Reader()
	for n := range lines {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		r, err := read(line)
		switch {
		case err != nil:
		case k.shardOf(k.Key(r)) != i:
			err = errors.New("it belongs to another shard")
		case n > 0 && k.Compare(records[n-1], r) >= 0:
			err = errors.New("it is not in order")
		}
		if err != nil {
			return nil, origin{}, fmt.Errorf("line %d: %w", n+3, err)
		}
		records = append(records, r)
	}
	if len(rest) > 0 {
		return nil, origin{}, errors.New("something follows the last line")
	}
	return records, origin{Seq: head.Seq, Revision: head.Revision, Digest: digest}, nil
}

// EncodeShard makes the record that storage holds of some records, for the tests of a
// kind: they must be in order, and all of the shard with that number.
func (k Kind[K, R]) EncodeShard(number int, records []*R) []byte {
	record, _ := k.complete().encode(number, 3, "0123456789abcdef", records)
	return record
}

// ParseShard reads such a record as it is read from storage.
func (k Kind[K, R]) ParseShard(number int, record []byte) ([]*R, error) {
	records, _, err := k.complete().parse(number, record)
	return records, err
}
