package auth

import (
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// shelves keep one copy of what many tokens of an issuer say, so that a hundred
// thousand remembered tokens take little memory, and what requests need of them
// stays in the processor's cache.
type shelves struct {
	standings  shelf[signedAs, *standing]
	registered shelf[registeredAs, *standing]
	properties shelf[claimAt, *property]
	lists      shelf[recalledFrom, *recalled]
}

// maxShared is the longest text, in bytes, that is looked for among those of
// other tokens. What is longer is kept with the token, and goes with it.
const maxShared = 2048

// recall gives the list that begins with a claim and goes on with rest.
func (f *shelves) recall(key string, value jsontext.Value, rest *recalled) *recalled {
	made := &recalled{rest: rest, length: 1, shared: len(value) <= maxShared}
	if rest != nil {
		made.length += rest.length
		made.shared = made.shared && rest.shared
	}
	if !made.shared {
		made.property = newProperty(key, value)
		made.part.bytes = made.bytes()
		return made
	}
	made.property = f.properties.take(claimAt{key, string(value)}, func() *property { return newProperty(key, value) })
	made.part.bytes = made.bytes()
	return f.lists.take(recalledFrom{made.property, rest}, func() *recalled { return made })
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
