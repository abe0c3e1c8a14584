package auth

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// signedBy finds the issuer's key that signed the token. A key id that is not
// known, or a token without one that no key signed, waits once for the issuer's
// current set. What fails under a known key id does not wait, but has the set
// fetched in the background in case the key was replaced.
func (v *Verifier) signedBy(ctx context.Context, a *authority, parts *compact, sum fingerprint) (*issuer.Key, *Refusal) {
	before := a.keys.Set()
	candidates, known := parts.header.candidates(before)
	if key := v.verifySignature(candidates, parts, sum); key != nil {
		return key, nil
	}
	if known {
		a.keys.Suspect()
		return nil, noneSigned(candidates)
	}
	set, err := a.keys.Await(ctx, func(s *issuer.Set) bool {
		fitting, known := parts.header.candidates(s)
		return s != before && (known || len(fitting) > 0)
	})
	if err != nil {
		return nil, keyRefusal(err, len(candidates) > 0)
	}
	candidates, _ = parts.header.candidates(set)
	if key := v.verifySignature(candidates, parts, sum); key != nil {
		return key, nil
	}
	return nil, noneSigned(candidates)
}

// noneSigned is the refusal where the issuer has keys that the token may mean, and
// none of those that fit its algorithm signed it.
func noneSigned(fitting []*issuer.Key) *Refusal {
	if len(fitting) == 0 {
		return ErrAlgorithm
	}
	return ErrSignature
}

// maxCandidates bounds how many keys are tried for one token.
const maxCandidates = 8

// candidates are the keys of a set that may have signed the token: those that
// fit its algorithm and, if it names a key id, have it. Known tells that the
// set holds a key of that id, fitting or not.
func (h *header) candidates(set *issuer.Set) (fitting []*issuer.Key, known bool) {
	if set == nil {
		return nil, false
	}
	keys := set.All()
	if h.hasKeyID {
		keys = set.Find(h.keyID)
		known = len(keys) > 0
	}
	for _, key := range keys {
		if key.Fits(h.algorithm) && len(fitting) < maxCandidates {
			fitting = append(fitting, key)
		}
	}
	return fitting, known
}

// verifySignature gives the first of the keys under which the signature holds,
// or nil. Requests with the same token share one attempt; one that failed may
// have been made with other keys, so it convinces only who made it.
func (v *Verifier) verifySignature(keys []*issuer.Key, parts *compact, sum fingerprint) *issuer.Key {
	if len(keys) == 0 {
		return nil
	}
	flight := &v.flights[int(sum[0])%len(v.flights)]
	found, _, shared := flight.Do(string(sum[:]), func() (any, error) {
		return parts.verify(keys), nil
	})
	if key := found.(*issuer.Key); key != nil || !shared {
		return key
	}
	return parts.verify(keys)
}

// verify tries the keys one by one.
func (c *compact) verify(keys []*issuer.Key) *issuer.Key {
	verifier := verifiers[c.header.algorithm]
	for _, key := range keys {
		if verifier.Verify(c.signed, c.signature, key.Public()) == nil {
			return key
		}
	}
	return nil
}

// keyRefusal turns the reason why a key could not be had into a refusal. Where
// keys had been tried before, a good answer without news means that none of
// them signed the token.
func keyRefusal(err error, tried bool) *Refusal {
	if errors.Is(err, issuer.ErrUnknownKey) {
		if tried {
			return ErrSignature
		}
		return ErrUnknownKey
	}
	refusal := *ErrKeysUnavailable
	refusal.Cause = err
	refusal.RetryAfter = 5 * time.Second
	var unavailable *issuer.UnavailableError
	if errors.As(err, &unavailable) && unavailable.RetryAfter > 0 {
		refusal.RetryAfter = unavailable.RetryAfter
	}
	return &refusal
}
