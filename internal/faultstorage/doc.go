// Package faultstorage is a storage that behaves as badly as real ones do, for tests.
//
// An [Engine] is the server that nodes share; a [Node] is one process's handle on
// it, and a certmagic.Storage. Each of the [Faults] is something that an engine
// in use with Caddy was seen to do; they can be had alone and together. What no
// engine takes (empty values, keys of other characters than [a-z0-9._/-]) is
// always refused, and remembered in [Engine.Violations].
package faultstorage
