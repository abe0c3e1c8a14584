// Package revocation knows what was revoked: the tokens of a subject, a session, a
// client, or one token, as far as they were issued before a moment.
//
// A [Registry] holds the revocations that are kept in a storage which several nodes
// may share: an internal/registry, which tells how. They only ever restrict, so states
// that came to be without each other are united, and a storage that was emptied is
// filled again by the nodes that know them. A revocation goes by itself when no token
// that it is about can be alive any more.
//
// In storage they are below gatehouse/revocations/, by a hash of the name.
//
// # What is not here
//
// HTTP, the events that issuers send, and who may revoke.
package revocation

import (
	"bytes"
	"cmp"
	"strings"
	"time"
	"unique"

	"github.com/google/uuid"
)

// Target says what of a token is compared with the name of a revocation.
type Target string

// The targets.
const (
	// Subject: its subject, by the claim that the issuer's configuration names, or
	// `sub` (RFC 7519, section 4.1.2).
	Subject Target = "subject"
	// Session: its `sid` (OpenID Connect Back-Channel Logout 1.0, section 2.1).
	Session Target = "session"
	// Client: the OAuth 2.0 client that it was issued to.
	Client Target = "client"
	// TokenID: its `jti` (RFC 7519, section 4.1.7).
	TokenID Target = "token_id"
)

// Targets are all of them.
var Targets = []Target{Subject, Session, Client, TokenID}

// Key tells revocations apart: there is one of each name.
type Key struct {
	Issuer string // its identifier, so that another name in the configuration changes nothing
	Target Target
	Name   string
}

// id is a UUID (RFC 9562, version 5) with the namespace URL and the name
// "revocation/", issuer, target and name with line feeds between them, which none
// holds.
func (k Key) id() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("revocation/"+k.Issuer+"\n"+string(k.Target)+"\n"+k.Name))
}

// Revocation is one of them. It never changes once made.
//
// A node may hold a million, so it is 48 bytes and one text.
type Revocation struct {
	// IssuedBefore: tokens that were issued at or before it, in Unix seconds, are refused.
	IssuedBefore int64
	// Created is when it was made or last changed, in Unix seconds.
	Created int64
	// Expires is when it is over, in Unix seconds, as no token that it is about can be
	// alive then.
	Expires int64

	text   string // the name, a line feed and the reason; neither holds another
	traits unique.Handle[traits]
}

// traits are what many revocations have in common.
type traits struct {
	issuer string
	target Target
	by     string
}

// Key is what is revoked. It never changes.
func (r *Revocation) Key() Key {
	t := r.traits.Value()
	return Key{t.issuer, t.target, r.Name()}
}

// is reports whether the revocation has that key.
func (r *Revocation) is(k Key) bool {
	end := len(k.Name)
	if len(r.text) <= end || r.text[end] != '\n' || r.text[:end] != k.Name {
		return false
	}
	t := r.traits.Value()
	return t.target == k.Target && t.issuer == k.Issuer
}

// ID follows from the key.
func (r *Revocation) ID() string { return r.Key().id().String() }

// Name is the subject, session, client or token id.
func (r *Revocation) Name() string {
	name, _, _ := strings.Cut(r.text, "\n")
	return name
}

// Reason is for people. It may be empty.
func (r *Revocation) Reason() string {
	_, reason, _ := strings.Cut(r.text, "\n")
	return reason
}

// By says who revoked, for people.
func (r *Revocation) By() string { return r.traits.Value().by }

// IsOver reports whether its time has come.
func (r *Revocation) IsOver(now time.Time) bool { return now.Unix() >= r.Expires }

// compare orders by name, and revocations of one name by id.
func compare(a, b *Revocation) int {
	if n := cmp.Compare(a.Name(), b.Name()); n != 0 || a.traits == b.traits {
		return n
	}
	one, other := a.Key(), b.Key()
	if one == other {
		return 0
	}
	first, second := one.id(), other.id()
	return bytes.Compare(first[:], second[:])
}
