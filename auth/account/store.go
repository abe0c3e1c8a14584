package account

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// lease is what a configuration lends.
type lease = storage.Lease[Host]

const parallel = 8 // calls of storage at once

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

// list returns the keys of the folder that are ours: a listing may hold temporary
// files. None is no error.
func list(h *lease) ([]string, error) {
	keys, err := h.List(h.Context(), folder)
	return slices.DeleteFunc(keys, func(key string) bool {
		return key != revisionKey && key != copyKey && !shardKeyForm.MatchString(key)
	}), err
}

// fetch loads what the revision names and now does not hold. lost tells which
// records cannot be used; their shards stay as they are.
func fetch(h *lease, rev *revision, now *snapshot) (next *snapshot, lost map[int]error, err error) {
	if rev == nil {
		return &snapshot{}, nil, nil
	}
	fresh := *now
	var wanted []int
	for i, digest := range rev.digests {
		if digest != now.shards[i].digest() {
			wanted = append(wanted, i)
		}
	}
	failures := make([]error, shardCount)
	err = storage.Each(len(wanted), parallel, func(n int) error {
		i := wanted[n]
		s, err := loadShard(h, i, rev.digests[i], now.shards[i])
		if isNoAnswer(h, err) {
			return err
		}
		if failures[i] = err; err == nil {
			fresh.shards[i] = s
		}
		return nil
	})
	lost = map[int]error{}
	for i, err := range failures {
		if err != nil {
			lost[i] = err
		}
	}
	return &fresh, lost, err
}

// loadShard reads the record; what stayed the same is shared with old.
func loadShard(h *lease, i int, digest string, old *shard) (*shard, error) {
	if digest == "" {
		return nil, nil
	}
	record, err := h.Load(h.Context(), shardKey(i, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it is gone: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	accounts, from, err := parseShard(i, record)
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if from.Digest != digest {
		return nil, errors.New("it is damaged: it holds the content of another record")
	}
	share(accounts, old)
	return newShard(accounts, from), nil
}

// isNoAnswer reports an error that says nothing about what storage holds.
func isNoAnswer(h *lease, err error) bool {
	return errors.Is(err, storage.ErrNoAnswer) || errors.Is(err, storage.ErrStuck) || h.Context().Err() != nil
}

// isLasting reports whether trying again soon is of no use.
func isLasting(err error) bool {
	return storage.IsLasting(err) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrDiverged)
}

// garbage are records that no revision names, with when they may be deleted.
type garbage struct {
	until   map[string]time.Time
	sweepAt time.Time
}

const (
	sweepEvery  = time.Hour
	maxCollects = 2 * shardCount // deletions at once, so that the lock is not held long
)

// sweep looks for records that nothing names, as a writer that died leaves them.
// The lock is held; rev is the current revision.
func (g *garbage) sweep(h *lease, rev *revision, linger time.Duration) {
	if time.Now().Before(g.sweepAt) {
		return
	}
	g.sweepAt = time.Now().Add(sweepEvery)
	keys, err := list(h)
	if err != nil {
		return // the next sweep will find them
	}
	for _, key := range keys {
		if _, known := g.until[key]; !known && shardKeyForm.MatchString(key) && !rev.names(key) {
			g.until[key] = time.Now().Add(linger)
		}
	}
}

// isDue reports whether there is something to delete.
func (g *garbage) isDue() bool {
	for _, until := range g.until {
		if !time.Now().Before(until) {
			return true
		}
	}
	return false
}

// collect deletes records that nothing has named for a while: another node may
// still be reading those that were replaced, which takes about as long as writing
// those in their place, or be about to name new ones. The lock is held, and the
// revision was just read.
func (g *garbage) collect(h *lease, rev *revision) {
	var due []string
	for key, until := range g.until {
		if !time.Now().Before(until) && len(due) < maxCollects {
			due = append(due, key)
		}
	}
	due = slices.DeleteFunc(due, func(key string) bool {
		delete(g.until, key)
		return rev.names(key)
	})
	_ = storage.Each(len(due), parallel, func(i int) error {
		_ = h.Delete(h.Context(), due[i]) // one that stays is found by a sweep
		return nil
	})
}
