package auth

import "sync"

// shelves keep one copy of what many tokens of an issuer say, so that a hundred
// thousand remembered tokens take little memory, and what requests need of them
// stays in the processor's cache.
type shelves struct {
	standings  shelf[string, *standing]
	registered shelf[registered, *standing]
	properties shelf[claimAt, *property]
	lists      shelf[recalledFrom, *recalled]
}

// list gives the list of properties that begins with one and goes on with rest.
func (f *shelves) list(first *property, rest *recalled) *recalled {
	return f.lists.take(recalledFrom{first, rest}, func() *recalled {
		made := &recalled{property: first, rest: rest, length: 1}
		if rest != nil {
			made.length += rest.length
		}
		return made
	})
}

// shelf keeps things that never change by what they are made of.
type shelf[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]V
}

// shelfSize is how many things a shelf holds; when it is full it starts anew.
// What was taken from it stays good.
const shelfSize = 1024

// take gives what is kept by the key, after making it if there is none.
func (f *shelf[K, V]) take(key K, create func() V) V {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kept, ok := f.all[key]; ok {
		return kept
	}
	if f.all == nil || len(f.all) >= shelfSize {
		f.all = make(map[K]V)
	}
	made := create()
	f.all[key] = made
	return made
}
