package account

import (
	"errors"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Storage is what is needed of a certmagic.Storage; every one of those is one.
// It may be slow, away, or wrong in the ways that the package comment tells.
type Storage = storage.Storage

// lease is what a configuration lends.
type lease = storage.Lease[Host]

const parallel = 8 // calls of storage at once

// list returns the keys of the folder that are ours: a listing may hold temporary
// files. None is no error.
func list(h *lease) ([]string, error) {
	keys, err := h.List(h.Context(), folder)
	return slices.DeleteFunc(keys, func(key string) bool {
		return key != revisionKey && key != copyKey && !shardKeyForm.MatchString(key)
	}), err
}

// lasting reports whether trying again soon is of no use.
func lasting(err error) bool {
	return storage.IsLasting(err) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrDiverged)
}
