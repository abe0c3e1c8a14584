// Package auth answers one question: who is calling, and may they?
//
// It verifies bearer tokens of configured issuers ([Verifier] gives a [Token]),
// joins what they say with what is registered ([Registration] gives a
// [Principal]), holds a route's rules against that caller ([Rules]) and words the
// refusal ([Refusal], [Challenge]).
//
// Tokens are signed JWTs (RFC 7519) in JWS compact serialization (RFC 7515,
// section 7.1), presented as bearer tokens (RFC 6750), verified as RFC 8725
// advises and, where an issuer says so, as RFC 9068 profiles them.
//
// What an issuer publishes (metadata, key set) is kept by the sub-package
// issuer. Nothing here knows Caddy, HTTP routing, logs or metrics: callers
// lend a clock, a storage and plain callbacks.
package auth
