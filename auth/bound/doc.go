// Package bound decides whether who sends a token holds the key that the token is
// bound to: by a DPoP proof (RFC 9449), by the certificate of a TLS client (RFC
// 8705), or by both, as the token's cnf claim asks (RFC 7800).
//
// A [Checker] is asked for each request, after the token was verified or found in a
// cache: what is known of a token says nothing about a proof. It asks nobody
// outside the process. Proofs that were taken are kept in [Replays] for as long as
// they would be good, so that none is taken twice; where a token may be used at
// several nodes, [Nonces] make a proof good at one of them only.
//
// What a token says beside cnf, and how refusals are worded in a challenge, is for
// the callers.
package bound
