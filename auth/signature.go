package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// signedBy finds the issuer's key that signed the token. A key id that is not
// known, or a token without one that no key signed, waits once for the issuer's
// current set. What fails under a known key id does not wait, but has the set
// fetched in the background in case the key was replaced.
func (v *Verifier) signedBy(ctx context.Context, a *authority, parts *compact, sum fingerprint) (*issuer.Key, *Refusal) {
	before := a.keys.JWKS()
	choice := before.Choose(parts.header.hint)
	if key := v.verifySignature(choice.Keys, parts, sum); key != nil {
		return key, nil
	}
	if choice.Known {
		a.keys.Suspect()
		return nil, noneSigned(choice)
	}
	jwks, err := a.keys.Await(ctx, func(s *issuer.JWKS) bool {
		choice := s.Choose(parts.header.hint)
		return s != before && (choice.Known || len(choice.Keys) > 0)
	})
	if err != nil {
		return nil, keyRefusal(err, choice, a.keys.JWKS(), parts.header.hint)
	}
	choice = jwks.Choose(parts.header.hint)
	if key := v.verifySignature(choice.Keys, parts, sum); key != nil {
		return key, nil
	}
	return nil, noneSigned(choice)
}

// noneSigned is the refusal where the issuer has keys that the token may mean, and
// none of those that were tried signed it.
func noneSigned(choice issuer.Choice) *Refusal {
	switch {
	case len(choice.Keys) == 0:
		return ErrAlgorithm
	case len(choice.Keys) == 1:
		return ErrSignature
	case choice.Left > 0:
		refusal := *ErrManyKeys
		refusal.Cause = fmt.Errorf("tried: %s; %d more would fit", names(choice.Keys), choice.Left)
		return &refusal
	}
	refusal := *ErrSignature
	refusal.Cause = fmt.Errorf("tried: %s", names(choice.Keys))
	return &refusal
}

// names are the ids of keys, or their thumbprints, for the operator.
func names(keys []*issuer.Key) string {
	list := make([]string, 0, len(keys))
	for _, key := range keys {
		list = append(list, key.Name())
	}
	return strings.Join(list, ", ")
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
	for _, key := range keys {
		if jose.Verify(c.header.hint.Algorithm, key.Public(), c.Signed, c.Signature) {
			return key
		}
	}
	return nil
}

// keyRefusal turns the reason why a key could not be had into a refusal. Where
// keys had been tried before, a good answer without news means that none of
// them signed the token.
func keyRefusal(err error, tried issuer.Choice, jwks *issuer.JWKS, hint issuer.Hint) *Refusal {
	if errors.Is(err, issuer.ErrUnknownKey) {
		if len(tried.Keys) > 0 {
			return noneSigned(tried)
		}
		if reason := jwks.Unusable(hint.KeyID); reason != "" {
			refusal := *ErrUnknownKey
			refusal.Cause = fmt.Errorf("the issuer publishes a key of this id, which %s", reason)
			return &refusal
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
