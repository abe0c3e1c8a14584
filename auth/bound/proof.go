package bound

import (
	"bytes"
	"errors"
	"strings"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

const (
	// MaxProofBytes is the longest proof that is read: one by an RSA key of 8192
	// bits takes half of it.
	MaxProofBytes = 8 << 10

	// MaxIDBytes is the longest jti; 16 bytes would do.
	MaxIDBytes = 512

	usualMembers = 8
)

// proof is a DPoP proof, taken apart: all the memory that this takes, unless the
// proof is unusually long. It is used again and again, because each request comes
// with a new proof.
type proof struct {
	parts  jose.Compact
	reader jose.Reader
	header jose.Object
	claims jose.Object
	key    jose.PublicJWK
	uri    []byte // the normal form of htu

	members [3][usualMembers]jose.Member // of the header, the key and the claims
	room    [2048]byte                   // the proof, and behind it what its parts say
	uriRoom [512]byte
	scratch [1024]byte
}

var proofs = sync.Pool{New: func() any { return new(proof) }}

// release lets the memory be used again. Nothing of the proof is left in it that
// would keep other memory alive.
func (p *proof) release() {
	p.parts, p.key = jose.Compact{}, jose.PublicJWK{}
	p.header, p.claims, p.uri = nil, nil, nil
	proofs.Put(p)
}

// takeApart decodes the parts and reads header and claims, strictly.
func (p *proof) takeApart(text string) *Refusal {
	if strings.Count(text, ".") != 2 || !p.parts.Decode(append(p.room[:0], text...)) {
		return ErrProofForm
	}
	header, err := p.reader.Read(p.parts.Header, p.members[0][:0])
	if err == nil {
		p.claims, err = p.reader.Read(p.parts.Payload, p.members[2][:0])
	}
	switch {
	case errors.Is(err, jose.ErrRepeated):
		return ErrProofRepeats
	case err != nil:
		return ErrProofForm
	}
	p.header = header
	return nil
}

// text gives a member that must be a string. One that is absent is nil.
func text(of jose.Object, name string) ([]byte, *Refusal) {
	value, ok := of.Text(name)
	if !ok || value == nil {
		return nil, ErrProofMember
	}
	return value, nil
}

// readKey reads the key that the proof brings along, which must be public, for
// signatures and for the proof's algorithm.
func (p *proof) readKey() *Refusal {
	value, present := p.header.Get("jwk")
	if !present || value.Kind() != '{' {
		return ErrProofMember
	}
	members, err := p.reader.Read(value, p.members[1][:0])
	if err != nil {
		return ErrProofKey
	}
	key, err := jose.ParsePublicJWK(members)
	if errors.Is(err, jose.ErrPrivate) {
		return ErrProofPrivate
	}
	algorithm, _ := p.header.Text("alg")
	kind := jose.Kind(string(algorithm))
	if err != nil || key.Kind != kind {
		return ErrProofKey
	}
	// The key's own use, key_ops and alg must let it sign by the algorithm (RFC 7517,
	// section 4).
	use, ok1 := members.Text("use")
	own, ok2 := members.Text("alg")
	operations, limited := members.Get("key_ops")
	switch {
	case !ok1 || !ok2 || use != nil && string(use) != "sig":
		return ErrProofKey
	case own != nil && string(own) != string(algorithm) && (kind != jose.KindEd25519 || jose.Kind(string(own)) != kind):
		return ErrProofKey // EdDSA and Ed25519 are two names for the same (RFC 9864)
	case limited && (operations.Kind() != '[' || !bytes.Contains(operations, []byte(`"verify"`))):
		return ErrProofKey
	}
	p.key = key
	return nil
}
