package bound

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// Replays remembers the proofs that were taken, each until it is too old to be
// taken again. It is bounded, and when it is full it takes no proof, because what
// it forgets could be used twice. It is safe for concurrent use, by several
// checkers and through changes of configuration.
//
// It is plain maps with a lock each: no lock is shared by all requests. What is no
// longer needed is dropped by the requests that come later, a map at a time.
type Replays struct {
	limit  atomic.Int64
	used   atomic.Int64
	span   int64 // seconds of expiry that share a map
	swept  atomic.Int64
	secret [32]byte // so that nobody can choose which proofs meet in a shard
	shards [replayShards]replayShard
}

type replayShard struct {
	mu   sync.Mutex
	maps map[int64]map[[16]byte]struct{} // by when all of one have expired
}

const replayShards = 64

// NewReplays makes room for so many proofs, which are kept for about as long as the
// window: the greatest age of a proof and twice the leeway.
func NewReplays(limit int, window time.Duration) *Replays {
	r := &Replays{span: max(1, int64(window/time.Second)/8)}
	r.SetLimit(limit)
	rand.Read(r.secret[:])
	for i := range r.shards {
		r.shards[i].maps = map[int64]map[[16]byte]struct{}{}
	}
	return r
}

// Len is how many proofs are remembered, some of which may be too old by now.
func (r *Replays) Len() int { return int(r.used.Load()) }

// Limit is how many proofs can be remembered.
func (r *Replays) Limit() int { return int(r.limit.Load()) }

// SetLimit changes how many proofs can be remembered. Where there are more already,
// none is forgotten, and none is taken until enough have expired.
func (r *Replays) SetLimit(limit int) { r.limit.Store(int64(limit)) }

// sum stands for a proof. It is over what makes a proof one that was seen before. The
// thumbprint has one length and a URI no zero byte, so that the three cannot run into
// each other.
func (r *Replays) sum(room []byte, thumbprint *[sha256.Size]byte, uri, id []byte) [16]byte {
	text := append(room, r.secret[:]...)
	text = append(text, thumbprint[:]...)
	text = append(text, uri...)
	text = append(text, 0)
	text = append(text, id...)
	whole := sha256.Sum256(text)
	return [16]byte(whole[:16])
}

// add remembers a proof until it expires. Of any number of requests with the same
// proof at once, one succeeds. Times are Unix seconds.
func (r *Replays) add(sum [16]byte, expiry, now int64) *Refusal {
	s := r.shard(sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.sweep(s, now)
	if s.holds(sum) {
		return ErrProofRepeated
	}
	if r.used.Add(1) > r.limit.Load() {
		r.used.Add(-1)
		return ErrReplaysFull
	}
	end := (expiry/r.span + 1) * r.span
	if s.maps[end] == nil {
		s.maps[end] = map[[16]byte]struct{}{}
	}
	s.maps[end][sum] = struct{}{}
	return nil
}

// take is what a check does: when the memory is full, it looks once a second for
// what has expired in the shards that no request has come to.
func (r *Replays) take(sum [16]byte, expiry, now int64) *Refusal {
	refusal := r.add(sum, expiry, now)
	if refusal != ErrReplaysFull {
		return refusal
	}
	if last := r.swept.Load(); last == now || !r.swept.CompareAndSwap(last, now) {
		return refusal
	}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		r.sweep(s, now)
		s.mu.Unlock()
	}
	return r.add(sum, expiry, now)
}

// seen tells whether a proof is remembered, and changes nothing.
func (r *Replays) seen(sum [16]byte) bool {
	s := r.shard(sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holds(sum)
}

func (r *Replays) shard(sum [16]byte) *replayShard {
	return &r.shards[binary.LittleEndian.Uint64(sum[:8])%replayShards]
}

func (s *replayShard) holds(sum [16]byte) bool {
	for _, proofs := range s.maps {
		if _, found := proofs[sum]; found {
			return true
		}
	}
	return false
}

// sweep drops the maps of which every proof has expired.
func (r *Replays) sweep(s *replayShard, now int64) {
	for end, proofs := range s.maps {
		if end <= now {
			r.used.Add(-int64(len(proofs)))
			delete(s.maps, end)
		}
	}
}
