package auth

import (
	"slices"
	"strings"
	"sync"
)

// shelf keeps one copy of each standing, so that a hundred thousand remembered
// tokens do not carry as many copies of the same few groups and scopes.
type shelf struct {
	mu  sync.Mutex
	all map[string]*standing
}

const (
	shelfSize = 1024 // standings; when it is full the shelf starts anew
	shelfKey  = 1024 // bytes; longer ones are not shared
)

// share gives the copy that is kept, which becomes s if there is none.
func (f *shelf) share(s *standing) *standing {
	key := s.key()
	if len(key) > shelfKey {
		return s
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.all[key]; known != nil && known.equal(s) {
		return known
	}
	if f.all == nil || len(f.all) >= shelfSize {
		f.all = make(map[string]*standing)
	}
	f.all[key] = s
	return s
}

// key is where to look for an equal standing. Names that hold the separator can
// make two standings share a key, so a hit must still be compared.
func (s *standing) key() string {
	return string(s.kind) + "\n" + strings.Join(s.groups, "\n") + "\n\n" + strings.Join(s.scopes, "\n")
}

func (s *standing) equal(other *standing) bool {
	return s.issuer == other.issuer && s.kind == other.kind && s.leeway == other.leeway &&
		slices.Equal(s.groups, other.groups) && slices.Equal(s.scopes, other.scopes)
}
