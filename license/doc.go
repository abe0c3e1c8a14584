// Package license says what a deployment may do: it signs and verifies licenses
// and computes how one stands at a moment, for a host and for a feature.
//
// A vendor makes a key (see the package keyfile), signs licenses with a [Signer]
// and hands out the public key. A deployment trusts that key through a
// [Verifier], opens the license it was given and asks the resulting [Standing] at
// each request.
//
// # Envelope
//
// A license is a JSON object of key_id, payload and signature, small enough to
// mail and plain enough to read. The algorithm comes from the trusted key and
// never from the license: RSA of 2048 bits or more signs with RSASSA-PSS and
// SHA-256 (salt of 32 bytes; any is accepted), Ed25519 with Ed25519, ECDSA on
// P-256 with SHA-256. Use Ed25519 unless others must read the license, such as
// hoop's own tools, which know RSA only.
//
// [Decode] is strict, so that there is one way to read a license and no two
// programs disagree about it. Members may stand in any order and be indented at
// will.
//
// # Versions
//
// Version 1 is the format of hoop's tools: type, times, hosts, description and
// features joined with colons and commas are signed with an RSA key. As such a
// text does not say where a field ends, a payload is signed and verified only if
// one fixed grammar reads exactly this payload from the text; so no colon or
// comma can be moved from one field to another. Features left out grant all of
// them.
//
// Version 2 is everything else: it adds an id for revocation, not_before, grace,
// limits, environment, issuer and crit. It signs a prefix and the canonical JSON
// form (RFC 8785) of key id and payload.
//
// A signature is not an identity: with ECDSA anybody can make a second valid one
// for the same payload. Use the payload's id to tell licenses apart.
//
// # Trust
//
// Several keys may be trusted at once, so that a vendor can change keys: a
// retired key verifies older licenses only, a revoked key none. Single licenses
// are revoked by their id. See [TrustedKey] and [Config].
//
// # State
//
// A missing, wrong or expired license is a [State] and not an error of a program
// that starts. The state is computed from an injected clock whenever it is asked
// for: missing, invalid, not_yet_valid, valid, expiring, grace, expired. Requests
// pass in valid, expiring and grace. A license is checked in the order form → key
// → signature → time → host → feature, and the first failure is the [Reason].
//
// # Cost
//
// [Standing.Check] is made for the path of a request: no lock, no allocation, a
// few look-ups in maps whatever the number of patterns.
//
// What never lives here: HTTP, files, storage, logs. The sub-package host matches
// hosts, the sub-package keyfile reads and writes private keys.
package license
