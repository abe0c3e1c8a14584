// Package license says what a deployment may do: it signs and verifies licenses
// and computes whether one is valid at a moment, for a host and for a feature.
//
// A vendor makes a key (see the package keyfile), signs licenses with a [Signer]
// and hands out the public key. A deployment trusts that key through a
// [Verifier], opens the license it was given and asks the resulting [Validity] at
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
// [Validity.Check] is made for the path of a request: no lock, no allocation, a
// few look-ups in maps whatever the number of patterns.
//
// What never lives here: HTTP, files, storage, logs. The sub-package host matches
// hosts, the sub-package keyfile reads and writes private keys.
package license

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// MaxSize is the greatest size of an encoded license in bytes.
const MaxSize = 64 << 10

// Type says which product edition a license is for.
type Type string

// The types there are.
const (
	OSS        Type = "oss"
	Enterprise Type = "enterprise"
)

// The limits that Gatehouse counts by itself.
const (
	// LimitUsers is how many people may use the deployment within 30 days.
	LimitUsers = "users"
	// LimitServiceAccounts is how many service accounts may be registered.
	LimitServiceAccounts = "service_accounts"
)

// Enforcement says what becomes of one who is over a limit.
type Enforcement string

// The enforcements there are.
const (
	Advisory Enforcement = "advisory" // it is counted and reported
	Deny     Enforcement = "deny"     // a new one is refused; never one who was in
)

// critInstance is the critical name of [Payload.Instance].
const critInstance = "instance"

// EveryFeature as the only entry of [Payload.Features] grants all of them.
const EveryFeature = "*"

// License is a signed statement of what a deployment may do: the envelope of
// key id, payload and signature. [Decode] and [Signer.Sign] make one; only
// [Verifier] says whether to believe it.
type License struct {
	// KeyID names the key that signed: the SHA-256 of its SubjectPublicKeyInfo
	// (RFC 5280, section 4.1) in lower-case hexadecimal. See [KeyID].
	KeyID string `json:"key_id"`

	// Payload is what was signed.
	Payload Payload `json:"payload"`

	// Signature is the signature over the payload in standard base64 with
	// padding (RFC 4648, section 4).
	Signature string `json:"signature"`
}

// Payload is what a license says. Times are Unix seconds. All integers lie
// within ±2^53, so that every JSON reader agrees on them.
type Payload struct {
	// V is 2 in a payload of version 2 and 0, which is left out, in one of
	// version 1. Version 1 holds nothing but type, issued_at, expire_at,
	// allowed_hosts, description and features.
	V int64 `json:"v,omitzero"`

	// ID is a UUID by which the license can be revoked; empty for none.
	ID string `json:"id,omitzero"`

	// Issuer says who issued the license, for people to read: 1 to 200
	// bytes, or empty for nobody.
	Issuer string `json:"issuer,omitzero"`

	// Type is the product edition.
	Type Type `json:"type"`

	// IssuedAt is when the license was signed. A license is not yet valid if
	// this is more than five minutes ahead of the clock.
	IssuedAt int64 `json:"issued_at"`

	// NotBefore is when the license begins to be valid; nil: at once.
	NotBefore *int64 `json:"not_before,omitzero"`

	// ExpireAt is the first second at which the license has ended. It lies
	// after IssuedAt.
	ExpireAt int64 `json:"expire_at"`

	// Grace is for how many seconds after its end the license is still
	// honored, 0 included; nil leaves that to the verifier's configuration.
	Grace *int64 `json:"grace,omitzero"`

	// AllowedHosts are 1 to 256 host patterns, as the package host reads
	// them.
	AllowedHosts []string `json:"allowed_hosts"`

	// Description says for whom the license is: 2 to 200 bytes.
	Description string `json:"description"`

	// Features are the features granted: nil grants every one, as does
	// ["*"]; an empty list grants none. Each is lower-case letters, digits
	// and hyphens, not beginning with a hyphen. In version 1 they are sorted,
	// and only nil grants every one.
	Features []string `json:"features,omitzero"`

	// Limits are integers that the product gives a meaning to, by name; nil
	// for none. Gatehouse itself counts [LimitUsers] and [LimitServiceAccounts].
	Limits map[string]int64 `json:"limits,omitzero"`

	// Enforcement says of limits what becomes of one more: each name is one of
	// Limits. A limit that is not named is [Advisory]; nil for none.
	Enforcement map[string]Enforcement `json:"enforcement,omitzero"`

	// Instance is the fingerprint of the only instance that the license is
	// good for: the [KeyID] of its key. "instance" then stands in Crit. Empty
	// for any instance.
	Instance string `json:"instance,omitzero"`

	// Environment says where the license is meant to be used, for instance
	// production: 1 to 100 bytes, or empty for anywhere.
	Environment string `json:"environment,omitzero"`

	// Crit names what a verifier must understand, and otherwise refuse the
	// license. See [Config.Understands].
	Crit []string `json:"crit,omitzero"`
}

// Version is the version of the payload's format, 1 or 2.
func (p *Payload) Version() int {
	if p.V == 0 {
		return 1
	}
	return int(p.V)
}

// Clone returns a copy that shares no memory with p.
func (p *Payload) Clone() Payload {
	c := *p
	if p.NotBefore != nil {
		c.NotBefore = new(*p.NotBefore)
	}
	if p.Grace != nil {
		c.Grace = new(*p.Grace)
	}
	c.AllowedHosts = slices.Clone(p.AllowedHosts)
	c.Features = slices.Clone(p.Features)
	c.Limits = maps.Clone(p.Limits)
	c.Enforcement = maps.Clone(p.Enforcement)
	c.Crit = slices.Clone(p.Crit)
	return c
}

// Encode gives the license as indented JSON with a newline at its end, as it is
// kept in a file. The error says that the license is over [MaxSize].
func (l *License) Encode() ([]byte, error) {
	data, err := marshal(l, "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the license: %w", err)
	}
	if len(data) > MaxSize {
		return nil, badForm("", "the license has %d bytes; want at most %d", len(data), MaxSize)
	}
	return data, nil
}

// UnmarshalJSON reads a license as strictly as [Decode] does.
func (l *License) UnmarshalJSON(data []byte) error {
	decoded, err := Decode(data)
	if err != nil {
		return err
	}
	*l = *decoded
	return nil
}

// marshal writes JSON that leaves "<", ">" and "&" as they are.
func marshal(v any, indent string) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
