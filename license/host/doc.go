// Package host decides whether a request's Host is one that a license names.
//
// A [Pattern] is one entry of a license: a name, "*." and a name, an IP address
// or "*". A [Matcher] is a compiled set of them, made once and asked at each
// request: it takes no lock, allocates nothing and looks at most once into a
// map for each label of the host.
//
// # Rules
//
//   - A name matches exactly: case-blind, one trailing dot and the port ignored.
//   - "*.x" matches every subdomain of x at any depth, but not x itself. An x
//     without a dot is refused, except for names of private networks.
//   - "*" matches every host; a request without one is refused still.
//   - An internationalized name becomes A-labels (UTS #46, non-transitional). A
//     request's Host must be ASCII already, as RFC 9110 asks.
//   - An IP address matches itself in any spelling, IPv4-mapped IPv6 addresses
//     included; zones are refused.
//   - Loopback names are hosts like any other.
//
// The Host header is the client's word, and nothing here reads another header.
// What never lives here: licenses, signatures, time.
package host
