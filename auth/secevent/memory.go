package secevent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// Memory remembers which events were taken, over restarts and on all nodes, until
// they are too old to have an effect. So an event that is sent again does not make a
// revocation anew that an operator has deleted. It holds digests of `jti`, no more.
type Memory struct {
	*registry.Registry[[16]byte, memoryRecord]
}

type memoryRecord struct {
	key   [16]byte
	until int64 // Unix seconds
}

// maxRemembered bounds the memory. An event beyond it revokes all the same.
const maxRemembered = 1_000_000

var memories = registry.Kind[[16]byte, memoryRecord]{
	Folder: "gatehouse/events", Lock: "gatehouse-events", Plural: "events",
	Repair: "delete the folder gatehouse/events of the storage while a node runs, which writes again what it knows",
	// The hash is part of the stored format. It uses 8 of the 256 shards: records are
	// small, and a burst of events is written in fewer pieces.
	Hash:    func(key [16]byte) uint64 { return binary.BigEndian.Uint64(key[:8]) &^ (31 << 56) },
	Key:     func(r *memoryRecord) [16]byte { return r.key },
	Compare: func(a, b *memoryRecord) int { return bytes.Compare(a.key[:], b.key[:]) },
	Equal:   func(a, b *memoryRecord) bool { return *a == *b },
	Updated: func(r *memoryRecord) int64 { return r.until },
	Ends:    func(r *memoryRecord) int64 { return r.until },
	Leaves:  true, Unites: true,
	Append: func(b []byte, r *memoryRecord) []byte {
		b = hex.AppendEncode(append(b, `{"id":"`...), r.key[:])
		return append(strconv.AppendInt(append(b, `","until":`...), r.until, 10), '}')
	},
	Reader: func() func([]byte) (*memoryRecord, error) { return readMemory },
}

func readMemory(line []byte) (*memoryRecord, error) {
	var written struct {
		ID    string `json:"id"`
		Until int64  `json:"until"`
	}
	err := json.Unmarshal(line, &written, json.RejectUnknownMembers(true))
	made := &memoryRecord{until: written.Until}
	id, wrong := hex.DecodeString(written.ID)
	if err != nil || wrong != nil || copy(made.key[:], id) != len(made.key) || len(id) != len(made.key) || hex.EncodeToString(id) != written.ID {
		return nil, errors.New("it has another form")
	}
	return made, nil
}

// NewMemory makes a memory. It starts nothing: see [registry.Registry].
func NewMemory(opts registry.Options) *Memory {
	return &Memory{registry.New(memories, opts)}
}

// MemoryHost is what a running configuration gives a memory.
type MemoryHost = registry.Host[memoryRecord]

// keyOf is over the identifier of the issuer whose tokens it is about, which holds no
// line feed, what kind of token it is, and its `jti`. One transmitter may speak of
// several issuers, and a logout be said in several ways: each of these counts.
func (s *Source) keyOf(e *Event) [16]byte {
	way := "set"
	if e.Kind == BackChannelLogout || e.Kind == GlobalRevocation {
		way = string(e.Kind)
	}
	sum := sha256.Sum256([]byte(s.config.Issuer + "\n" + way + "\n" + e.ID))
	return [16]byte(sum[:16])
}

// has tells whether the event was taken before, as far as this node knows.
func (m *Memory) has(key [16]byte, now time.Time) bool {
	found := m.Snapshot().Find(key)
	return found != nil && now.Unix() < found.until
}

// remember is durable when it returns no error.
func (m *Memory) remember(ctx context.Context, key [16]byte, until time.Time) error {
	if m.Snapshot().Len() >= maxRemembered {
		return nil
	}
	wrong, err := registry.Change(ctx, m.Registry, 1, func(w *registry.Work[[16]byte, memoryRecord]) error {
		if w.Get(key) != nil {
			return nil
		}
		return w.Put(&memoryRecord{key, until.Unix()})
	}, nil)
	return errors.Join(wrong, err)
}
