package secevent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"runtime"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/time/rate"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// Receiver takes one issuer's events and has revoked what they ask for. It is safe
// for concurrent use.
type Receiver struct {
	source  *Source
	revoked *revocation.Registry
	memory  *Memory
	observe func(Received)
}

// Received is what became of an event.
type Received struct {
	Kind    Kind
	Outcome Outcome
	// Subjects are whose tokens were revoked by it.
	Subjects []Subject
	// Err is why it was refused, or why storage failed. It holds nothing of the event.
	Err error
}

// Outcome is what became of an event: a closed set, see [Outcomes].
type Outcome string

// The outcomes.
const (
	Revoked  Outcome = "revoked"
	NoEffect Outcome = "no_effect" // it says nothing that matters here, or says it too late
	Repeated Outcome = "repeated"  // it had been taken before
	Refused  Outcome = "refused"
	Failed   Outcome = "failed" // storage or keys were out of reach: the sender sends it again
)

// Outcomes are all of them.
var Outcomes = []Outcome{Revoked, NoEffect, Repeated, Refused, Failed}

// NewReceiver makes the receiver of one issuer's events. Observe is called for each
// event, by the goroutine that brought it; it may be nil.
func NewReceiver(source *Source, revoked *revocation.Registry, memory *Memory, observe func(Received)) *Receiver {
	if observe == nil {
		observe = func(Received) {}
	}
	return &Receiver{source: source, revoked: revoked, memory: memory, observe: observe}
}

// Logout takes a logout token. What it revokes is durable when the error is nil. The
// error is a [*Refusal], or one of keys or storage, and then the event is worth
// sending again. So it is with the other methods.
func (r *Receiver) Logout(ctx context.Context, token string) error {
	e, err := r.source.ReadLogout(ctx, token)
	outcome, err := r.take(ctx, e, err)
	if outcome == Repeated { // Back-Channel Logout 1.0, section 2.6
		return &Refusal{Code: InvalidRequest, Description: "a logout token with this jti was taken before", Kind: BackChannelLogout, Signed: true}
	}
	return err
}

// SET takes a security event token. One that was taken before is taken again, without
// effect: its sender missed the answer.
func (r *Receiver) SET(ctx context.Context, token string) (Outcome, error) {
	e, err := r.source.ReadSET(ctx, token)
	return r.take(ctx, e, err)
}

// Global takes a request for global token revocation.
func (r *Receiver) Global(ctx context.Context, token string, body []byte) error {
	e, err := r.source.ReadGlobal(ctx, token, body)
	outcome, err := r.take(ctx, e, err)
	if outcome == Repeated {
		return &Refusal{Code: AuthenticationFailed, Description: "a token with this jti was taken before", Kind: GlobalRevocation, Signed: true}
	}
	return err
}

// take revokes first and remembers then: what happens in between, the event can be
// sent again, and changes nothing that it had not changed.
func (r *Receiver) take(ctx context.Context, e *Event, err error) (Outcome, error) {
	received := Received{Kind: Unread, Outcome: Failed, Err: err}
	if err == nil {
		received = r.carryOut(ctx, e)
	}
	if refusal := (*Refusal)(nil); errors.As(received.Err, &refusal) {
		received.Kind, received.Outcome = refusal.Kind, Refused
	}
	r.observe(received)
	if received.Outcome == Revoked { // with many others, as those that came together are written together
		_ = pace.Wait(ctx) // a sender that has gone gets no answer
	}
	return received.Outcome, received.Err
}

// pace spreads the work for events, of all issuers: verifying a signature and answering.
// Without it, a thousand events that come together are worked on together, and the
// requests in between wait for all of them.
var pace = rate.NewLimiter(rate.Limit(1000*runtime.GOMAXPROCS(0)), 1) // a second

func (r *Receiver) carryOut(ctx context.Context, e *Event) Received {
	now := r.source.config.Now()
	done := Received{Kind: e.Kind, Outcome: NoEffect}
	if len(e.Subjects) == 0 {
		return done
	}
	key := r.source.keyOf(e)
	if r.memory.has(key, now) {
		done.Outcome = Repeated
		return done
	}
	made, err := r.revoked.Revoke(ctx, r.source.drafts(e))
	if err == nil {
		window := r.source.config.Lifetime + 3*r.source.config.Leeway
		err = r.memory.remember(ctx, key, e.IssuedAt.Add(window+time.Second))
	}
	if input := (*revocation.InputError)(nil); errors.As(err, &input) {
		err = &Refusal{Code: InvalidRequest, Description: "the subject cannot be revoked: " + input.Error(), Kind: e.Kind, Signed: true}
	}
	if err != nil {
		done.Outcome, done.Err = Failed, err
		return done
	}
	for i, one := range made {
		if one != nil {
			done.Outcome = Revoked
			done.Subjects = append(done.Subjects, e.Subjects[i])
		}
	}
	return done
}

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
