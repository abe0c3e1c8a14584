// Package pool keeps what outlives a reload: caches, registries and other things that
// work in the background. Configurations that ask for the same share it.
package pool

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// Pool holds values of one kind by their keys, each until its last user is gone.
type Pool[T any] struct {
	values *caddy.UsagePool
	end    func(T) error
}

// New makes a pool, whose values end by end. Requests may still use a value then.
func New[T any](end func(T) error) *Pool[T] {
	return &Pool[T]{values: caddy.NewUsagePool(), end: end}
}

// Take gives the value of a key, which is made if there is none. It must be released
// exactly once.
func (p *Pool[T]) Take(key string, make func() (T, error)) (value T, err error) {
	taken, _, err := p.values.LoadOrNew(key, func() (caddy.Destructor, error) {
		made, err := make()
		return pooled[T]{made, p.end}, err
	})
	if err != nil {
		return value, err
	}
	return taken.(pooled[T]).value, nil
}

// Release gives the value of a key back.
func (p *Pool[T]) Release(key string) error {
	_, err := p.values.Delete(key)
	return err
}

// Each visits the values until visit reports false. No value may be taken meanwhile.
func (p *Pool[T]) Each(visit func(key string, value T) bool) {
	p.values.Range(func(key, value any) bool { return visit(key.(string), value.(pooled[T]).value) })
}

// Users is how often the value of a key was taken and not released.
func (p *Pool[T]) Users(key string) int {
	n, _ := p.values.References(key)
	return n
}

// pooled is a value as Caddy's pool wants it.
type pooled[T any] struct {
	value T
	end   func(T) error
}

// Destruct ends the value.
func (p pooled[T]) Destruct() error { return p.end(p.value) }

// StorageID is equal for storages that are configured alike: storage modules are made
// from JSON, and write themselves as such. It is a digest, because that JSON may hold a
// password.
func StorageID(storage certmagic.Storage) string {
	config, err := json.Marshal(storage)
	if err != nil {
		config = fmt.Appendf(nil, "%p", storage)
	}
	return fmt.Sprintf("%T %x", storage, sha256.Sum256(config))
}

// StorageName says which storage it is: the name of its module, and the folder if it is
// one. How other modules show themselves is not asked for: it may hold a password.
func StorageName(storage certmagic.Storage) string {
	switch s := storage.(type) {
	case *certmagic.FileStorage:
		folder, err := filepath.Abs(s.Path)
		if err != nil {
			folder = s.Path
		}
		return "file_system " + folder
	case caddy.Module:
		return s.CaddyModule().ID.Name()
	}
	return fmt.Sprintf("%T", storage)
}
