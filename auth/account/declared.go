package account

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
)

// declaredVersions numbers the declared accounts of this process.
var declaredVersions atomic.Uint64

// WithDeclared gives the same registry with the accounts of the drafts laid over those
// in storage, as one configuration declares them. They cannot be changed, and hide a
// stored one with the same issuer and subject. Detaching and closing is as for r.
//
// It fails if a draft is not valid ([*strictjson.InputError]) or two have the same issuer
// and subject ([ErrExists]).
func (r *Registry) WithDeclared(drafts []Draft) (*Registry, error) {
	laid := &Registry{
		Registry: r.Registry, now: r.now, version: declaredVersions.Add(1),
		declared: make([]*Account, 0, len(drafts)), known: make(map[Key]*Account, len(drafts)),
	}
	plain := map[string]bool{} // subjects whose plain id is taken
	for _, draft := range drafts {
		draft.id = uuid.Nil // it follows
		err := draft.validate()
		if err == nil {
			err = draft.checkEnds(nil)
		}
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", quote(draft.Subject), err)
		}
		qualified, err := draft.chooseID(plain[draft.Subject])
		if err != nil {
			return nil, err
		}
		plain[draft.Subject] = plain[draft.Subject] || !qualified
		declared := draft.account(nil, qualified, 0)
		declared.Created, declared.Updated = 0, 0
		laid.declared = append(laid.declared, declared)
	}
	slices.SortFunc(laid.declared, kind.Compare)
	for _, a := range laid.declared {
		if laid.known[a.Key()] != nil {
			return nil, fmt.Errorf("account %s: %w: declared twice", quote(a.Subject()), ErrExists)
		}
		laid.known[a.Key()] = a
	}
	return laid, nil
}

// only are the accounts that match.
func only(accounts []*Account, match func(*Account) bool) (matching []*Account) {
	for _, a := range accounts {
		if match(a) {
			matching = append(matching, a)
		}
	}
	return matching
}

// merge merges two sorted lists; of two with the same key the first counts.
func merge(a, b []*Account) []*Account {
	if len(a) == 0 {
		return b
	}
	merged := make([]*Account, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := kind.Compare(a[0], b[0]); {
		case c == 0:
			b = b[1:]
		case c < 0:
			merged, a = append(merged, a[0]), a[1:]
		default:
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return append(append(merged, a...), b...)
}
