package bound

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Nonces makes and knows the nonces that a node asks proofs for (RFC 9449, section
// 9). A nonce is a MAC over the time and the node's name: nothing is kept of those
// that were given out, and a proof that was used here is no proof anywhere else. A
// nonce is taken for two to four minutes. It is safe for concurrent use.
type Nonces struct {
	node string

	mu      sync.Mutex // of the keys
	keys    [][]byte
	current atomic.Pointer[nonceSlot]
}

// nonceSlot is what is taken in one slot of time.
type nonceSlot struct {
	number int64
	taken  []string // the first is the one to give out
}

const (
	nonceSlotSeconds = 120
	minNonceKey      = 16 // bytes
	nonceBytes       = 18 // of the MAC; no padding in base64
)

// NewNonces makes the nonces of a node. The name must not be another node's, nor
// that of an earlier run of this one, which remembered other proofs. Of the keys, the
// first makes nonces; those of the others are taken, too.
func NewNonces(node string, keys ...[]byte) (*Nonces, error) {
	n := &Nonces{node: node}
	if err := n.Rotate(keys...); err != nil {
		return nil, err
	}
	return n, nil
}

// Rotate changes the keys. To leave no client without a good nonce, the key that
// made them stays among the others for a while.
func (n *Nonces) Rotate(keys ...[]byte) error {
	if len(keys) == 0 || slices.ContainsFunc(keys, func(key []byte) bool { return len(key) < minNonceKey }) {
		return errors.New("nonces need a key of at least 16 bytes")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys = keys
	n.current.Store(nil)
	return nil
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
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &nonceSlot{number: number}
	for _, key := range n.keys {
		s.taken = append(s.taken, n.mac(key, number), n.mac(key, number-1))
	}
	n.current.Store(s)
	return s
}

func (n *Nonces) mac(key []byte, number int64) string {
	text := append([]byte("gatehouse DPoP nonce\x00"), n.node...)
	mac := hmac.New(sha256.New, key)
	mac.Write(binary.BigEndian.AppendUint64(text, uint64(number)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:nonceBytes])
}
