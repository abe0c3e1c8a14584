// Package issuer keeps what one token issuer publishes at hand: its metadata
// and its signing keys.
//
// An [Engine] discovers the metadata (OpenID Connect Discovery 1.0, then
// RFC 8414), fetches the key set (RFC 7517) from a URL or reads it from a
// file, follows rotation, lives through outages on the last good keys, and
// keeps those in storage so that a restart with the issuer down still serves.
// One engine is meant to be shared by everything that trusts the same issuer
// and to outlive a change of configuration: see [Config.ID] and
// [Engine.Attach].
//
// # What a caller meets
//
// [Engine.Set] and [Key.Trusted] are for every request: no lock, no
// allocation, no waiting. [Engine.Await] is for a request whose key is not
// there: all such requests wait together for one fetch. Whatever strangers
// send, the issuer sees at most one fetch on demand in five seconds.
//
// # What never lives here
//
// Tokens, claims and signatures. This package decides which keys are an
// issuer's; what was signed with them is for its callers.
package issuer
