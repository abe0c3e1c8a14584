package account

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"
)

// Keys in storage. Only [a-z0-9._/-] is safe on every storage, so a subject is
// never part of one.
const (
	folder      = "gatehouse/accounts"
	revisionKey = folder + "/revision.json"
	copyKey     = folder + "/revision.copy.json"
	probeKey    = folder + "/probe.txt"
	lockName    = "gatehouse-accounts"
)

var shardKeyForm = regexp.MustCompile(`^` + folder + `/shard-([0-9a-f]{2})-([0-9a-f]{32})\.json$`)

func shardKey(i int, digest string) string {
	return folder + "/shard-" + shardName(i) + "-" + digest + ".json"
}

// asideKey is where Repair keeps a damaged record.
func asideKey(i int, digest string) string {
	return folder + "/damaged-" + shardName(i) + "-" + digest + ".json"
}

const (
	maxRevision  = 64 << 10
	maxShard     = 256 << 20
	digestLength = 32 // hexadecimal digits of the checksum that name a record
	historySize  = 64
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

// revision is the record that names the current record of every shard.
type revision struct {
	Seq uint64 `json:"seq"`
	// ID is random, so that two writers never make the same revision.
	ID string `json:"id"`
	// History holds the ids before this one, the latest first. It tells a node
	// whether its own changes are in this revision.
	History []string `json:"history"`
	// Shards maps the name of each shard that has a record to its digest.
	Shards map[string]string `json:"shards"`

	digests [shardCount]string // Shards by number
}

// follows reports whether the revision with that id is this one or before it.
func (v *revision) follows(id string) bool {
	return v != nil && (v.ID == id || slices.Contains(v.History, id))
}

// forgot reports whether this revision was made without knowing the one given.
// What lies beyond its history counts as known.
func (v *revision) forgot(seq uint64, id string) bool {
	return !v.follows(id) && (v.Seq < seq || v.Seq-seq < historySize)
}

func (v *revision) encode() []byte {
	v.Shards = map[string]string{}
	for i, d := range v.digests {
		if d != "" {
			v.Shards[shardName(i)] = d
		}
	}
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err) // only text and numbers
	}
	record, _ := seal("revision", append(body, '\n'))
	return record
}

var (
	digestForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
	idForm     = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

func parseRevision(record []byte) (*revision, error) {
	body, _, err := unseal("revision", record, maxRevision)
	if err != nil {
		return nil, err
	}
	v := &revision{}
	if err := json.Unmarshal(body, v, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("its content is not that of a revision")
	}
	if !idForm.MatchString(v.ID) || len(v.History) > historySize {
		return nil, errors.New("its id or history has another form")
	}
	for name, digest := range v.Shards {
		i, err := hex.DecodeString(name)
		if err != nil || len(i) != 1 || shardName(int(i[0])) != name || !digestForm.MatchString(digest) {
			return nil, errors.New("it names a shard in another form")
		}
		v.digests[i[0]] = digest
	}
	return v, nil
}
