// Package keyfile reads and writes the private keys that licenses are signed
// with.
//
// [Load] reads a file: PEM (PKCS #8, PKCS #1 or SEC 1), or any of these encrypted
// with a passphrase by age (https://age-encryption.org). A file that others may
// read is refused. [Parse] reads the same from memory, and what environment
// variables carry: base64 of PEM, alone or behind an organization's id and a
// comma. [Generate] makes a key, and [Create] writes it beside its public half
// without ever overwriting.
//
// The keys are [crypto.Signer] values; no error of this package holds any part
// of a key or of a passphrase. What never lives here: signing, and the public
// keys that are trusted.
package keyfile
