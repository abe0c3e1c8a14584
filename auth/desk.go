package auth

import (
	"strings"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// desk is where a token is taken apart: all the memory that this takes, unless
// the token is unusually large. Desks are used again and again, because a
// quarter of what refusing a request costs would be the making and collecting of
// 2.5 KB of garbage.
type desk struct {
	parts   compact
	reader  jose.Reader
	members [usualClaims]jose.Member // of the header, then of the payload
	room    [deskBytes]byte          // the token, and behind it what its parts say
}

// deskBytes is room enough for a token of 2300 bytes.
const deskBytes = 4096

var desks = sync.Pool{New: func() any { return new(desk) }}

// takeApart decodes a token's parts and reads its header. What it gives is good
// until the desk is used again.
func (d *desk) takeApart(token string) (*compact, *Refusal) {
	if strings.Count(token, ".") != 2 {
		return nil, ErrNotJWS // before a long one is copied
	}
	if !d.parts.Decode(append(d.room[:0], token...)) {
		return nil, ErrNotJWS
	}
	members, err := d.reader.Read(d.parts.Header, d.members[:0])
	if err != nil {
		return nil, badJSON(d.parts.Header)
	}
	var refusal *Refusal
	d.parts.header, refusal = readHeader(claimSet(members))
	return &d.parts, refusal
}

// claims reads the payload of the token that was taken apart.
func (d *desk) claims() (claimSet, bool) {
	members, err := d.reader.Read(d.parts.Payload, d.members[:0])
	return claimSet(members), err == nil
}
