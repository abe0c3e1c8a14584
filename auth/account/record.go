package account

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
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
