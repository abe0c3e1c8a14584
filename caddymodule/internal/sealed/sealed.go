// Package sealed holds what was fixed when the program was built. It is internal, so
// that no other module of the program can change it.
package sealed

// TrustedKeys are base64 (RFC 4648, section 4) of a PEM text of public keys: whom
// licenses are believed from, whatever the configuration says. Empty: the
// configuration says it. The package caddymodule points it to what the linker sets.
var TrustedKeys = new(string)
