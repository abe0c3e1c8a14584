package license

import (
	"crypto"
	"fmt"
	"time"
)

// TrustedKey is a public key whose licenses are believed, and for how long.
type TrustedKey struct {
	// Key is the public key: *rsa.PublicKey of 2048 bits or more,
	// ed25519.PublicKey, or *ecdsa.PublicKey on P-256.
	Key crypto.PublicKey

	// NotAfterIssue retires the key: it is good only for licenses issued
	// before this time. The zero time is no limit. The time of issue is what
	// the signer wrote, so retiring does not help against a key in wrong
	// hands; for that there is Revoked.
	NotAfterIssue time.Time

	// Revoked makes the key good for no license at all.
	Revoked bool
}

// KeySet holds the trusted keys by their id. It never changes, so any number of
// goroutines may share it. A nil KeySet trusts nobody.
type KeySet struct {
	keys map[string]TrustedKey
}

// NewKeySet makes a set of keys. A key of the wrong kind or one given twice is an
// error.
func NewKeySet(keys ...TrustedKey) (*KeySet, error) {
	s := &KeySet{keys: make(map[string]TrustedKey, len(keys))}
	for i, k := range keys {
		id, err := KeyID(k.Key)
		if err != nil {
			return nil, fmt.Errorf("trusted key %d: %w", i+1, err)
		}
		if _, ok := s.keys[id]; ok {
			return nil, fmt.Errorf("trusted key %d: the key %s is given twice; want each key once", i+1, id)
		}
		s.keys[id] = k
	}
	return s, nil
}

// Len is the number of keys, revoked ones included.
func (s *KeySet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.keys)
}

// find returns the key that may verify a license with this id and time of issue.
func (s *KeySet) find(id string, issuedAt int64) (crypto.PublicKey, error) {
	if s == nil {
		s = &KeySet{}
	}
	k, ok := s.keys[id]
	switch {
	case !ok:
		return nil, refuse(ReasonUnknownKey, "key_id", "%s is none of the %d trusted keys; trust that key, or have the license signed by a trusted one", id, len(s.keys))
	case k.Revoked:
		return nil, refuse(ReasonRevokedKey, "key_id", "%s has been revoked; have the license signed again by another key", id)
	case !k.NotAfterIssue.IsZero() && issuedAt >= k.NotAfterIssue.Unix():
		return nil, refuse(ReasonRetiredKey, "key_id", "%s is good for licenses issued before %s only, and this one was issued on %s",
			id, stamp(k.NotAfterIssue.Unix()), stamp(issuedAt))
	}
	return k.Key, nil
}

// stamp shows a time to people.
func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
