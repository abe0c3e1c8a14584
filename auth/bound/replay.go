package bound

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
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
	// Limit is how many proofs can be remembered. Where it becomes less than there are,
	// none is forgotten, and none is taken until enough have expired.
	Limit atomic.Int64

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
	r.Limit.Store(int64(limit))
	rand.Read(r.secret[:])
	for i := range r.shards {
		r.shards[i].maps = map[int64]map[[16]byte]struct{}{}
	}
	return r
}

// Len is how many proofs are remembered, some of which may be too old by now.
func (r *Replays) Len() int { return int(r.used.Load()) }

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
	if r.used.Add(1) > r.Limit.Load() {
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

// Nonces makes and knows the nonces that a node asks proofs for (RFC 9449, section
// 9). A nonce is a MAC over the time: nothing is kept of those that were given out, and
// a proof that was used here is no proof anywhere else. A nonce is taken for two to
// four minutes. It is safe for concurrent use.
type Nonces struct {
	key     []byte
	current atomic.Pointer[nonceSlot]
}

// nonceSlot is what is taken in one slot of time.
type nonceSlot struct {
	number int64
	taken  [2]string // of this slot, which is the one to give out, and of the one before
}

const (
	nonceSlotSeconds = 120
	minNonceKey      = 16 // bytes
	nonceBytes       = 18 // of the MAC; no padding in base64
)

// NewNonces makes the nonces of a node. The key must not be another node's, nor that
// of an earlier run of this one, which remembered other proofs.
func NewNonces(key []byte) (*Nonces, error) {
	if len(key) < minNonceKey {
		return nil, errors.New("nonces need a key of at least 16 bytes")
	}
	return &Nonces{key: key}, nil
}

// Make gives the nonce to send in a DPoP-Nonce header.
func (n *Nonces) Make(now time.Time) string { return n.slot(now).taken[0] }

// Check tells whether a nonce is taken, and gives another to send if it will not be
// taken for much longer; otherwise "".
func (n *Nonces) Check(nonce string, now time.Time) (ok bool, next string) {
	taken := n.slot(now).taken
	for i, one := range taken {
		if subtle.ConstantTimeCompare([]byte(nonce), []byte(one)) == 1 {
			if i > 0 {
				next = taken[0]
			}
			return true, next
		}
	}
	return false, ""
}

func (n *Nonces) slot(now time.Time) *nonceSlot {
	number := now.Unix() / nonceSlotSeconds
	if s := n.current.Load(); s != nil && s.number == number {
		return s
	}
	s := &nonceSlot{number: number}
	for i := range s.taken {
		mac := hmac.New(sha256.New, n.key)
		mac.Write(binary.BigEndian.AppendUint64([]byte("gatehouse DPoP nonce\x00"), uint64(number-int64(i))))
		s.taken[i] = base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:nonceBytes])
	}
	n.current.Store(s) // whoever comes at the same time stores the same
	return s
}
