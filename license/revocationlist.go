package license

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// Bounds of a list of revoked licenses.
const (
	// MaxRevocationsSize is the greatest size of an encoded list in bytes.
	MaxRevocationsSize = 1 << 20
	// MaxRevoked is the greatest number of licenses on a list.
	MaxRevoked = 20_000
)

// prefixRevocations begins what the signature of a list covers, so that it is that of
// nothing else.
const prefixRevocations = "gatehouse-license-revocations/v1\n"

// RevocationList is a signed list of the licenses that their signer has taken back:
// an envelope as that of a [License]. Its signature covers a prefix and the canonical
// JSON form (RFC 8785) of key id and payload.
type RevocationList struct {
	KeyID     string             `json:"key_id"`
	Payload   RevocationsPayload `json:"payload"`
	Signature string             `json:"signature"`

	text []byte              // as it was found
	ids  map[string]struct{} // the revoked ones, to look up
}

// RevocationsPayload is what a list says. Times are Unix seconds.
type RevocationsPayload struct {
	// Version is greater in each list than in the one before it; 1 or more.
	Version int64 `json:"version"`

	// IssuedAt is when the list was signed.
	IssuedAt int64 `json:"issued_at"`

	// NextUpdate is by when there should be a newer list. One that is late is
	// reported and counts all the same.
	NextUpdate int64 `json:"next_update"`

	// Revoked are the ids of licenses, lower-case UUIDs, sorted, each once.
	Revoked []string `json:"revoked"`
}

// DecodeRevocations reads a list as strictly as [Decode] reads a license. It does not
// look at the signature; see [KeySet.VerifyRevocations]. All errors are of type
// [*Error] with the reason [ReasonForm].
func DecodeRevocations(data []byte) (*RevocationList, error) {
	l := &RevocationList{}
	p := &l.Payload
	err := readSigned(data, MaxRevocationsSize, &l.KeyID, &l.Signature, func(v strictjson.Value) error {
		return v.Read(strictjson.Fields{
			"version":     integer(&p.Version),
			"issued_at":   integer(&p.IssuedAt),
			"next_update": integer(&p.NextUpdate),
			"revoked":     texts(&p.Revoked, MaxRevoked),
		}, "version", "issued_at", "next_update", "revoked")
	})
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, asForm(err)
	}
	return l, nil
}

func (p *RevocationsPayload) check() error {
	for _, member := range []struct {
		name  string
		value *int64
	}{{"version", &p.Version}, {"issued_at", &p.IssuedAt}, {"next_update", &p.NextUpdate}} {
		if err := checkInteger("payload."+member.name, member.value); err != nil {
			return err
		}
	}
	switch {
	case p.Version < 1:
		return badForm("payload.version", "is %d; want 1 or more", p.Version)
	case p.NextUpdate <= p.IssuedAt:
		return badForm("payload.next_update", "is %d; want a time after issued_at, which is %d", p.NextUpdate, p.IssuedAt)
	case len(p.Revoked) > MaxRevoked:
		return badForm("payload.revoked", "has %d entries; want at most %d", len(p.Revoked), MaxRevoked)
	}
	for i, id := range p.Revoked {
		if !uuidForm.MatchString(id) || id != strings.ToLower(id) {
			return badForm(fmt.Sprintf("payload.revoked[%d]", i), "is %s; want a lower-case UUID as in 5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11", quote(id))
		}
		if i > 0 && id <= p.Revoked[i-1] {
			return badForm(fmt.Sprintf("payload.revoked[%d]", i), "is not behind the one before it; want the ids sorted, each once")
		}
	}
	return nil
}

// signedBytes is what the list's signature covers.
func (l *RevocationList) signedBytes() ([]byte, error) {
	return canonical(prefixRevocations, map[string]any{"key_id": l.KeyID, "payload": l.Payload})
}

// Encode gives the list as JSON with a newline at its end. The error says that it is
// over [MaxRevocationsSize].
func (l *RevocationList) Encode() ([]byte, error) {
	data, err := marshal(l, " ")
	if err != nil {
		return nil, fmt.Errorf("encoding the list: %w", err)
	}
	if len(data) > MaxRevocationsSize {
		return nil, badForm("", "the list has %d bytes; want at most %d", len(data), MaxRevocationsSize)
	}
	return data, nil
}

// SignRevocations signs a list of revoked licenses, whose ids it sorts. A version of
// less than 1 and a next update that is not ahead are errors of type [*Error], named as
// the payload's members.
func (s *Signer) SignRevocations(version int64, next time.Time, revoked []string) (*RevocationList, error) {
	if s == nil {
		return nil, ErrMissingKey
	}
	ids := make([]string, 0, len(revoked)) // never nil: it is written as []
	for _, id := range revoked {
		ids = append(ids, strings.ToLower(id))
	}
	slices.Sort(ids)
	p := RevocationsPayload{Version: version, IssuedAt: s.now().Unix(), NextUpdate: next.Unix(), Revoked: slices.Compact(ids)}
	if err := p.check(); err != nil {
		return nil, inRequest(err)
	}
	l := &RevocationList{KeyID: s.keyID, Payload: p}
	data, err := l.signedBytes()
	if err != nil {
		return nil, err
	}
	if l.Signature, err = sign(s.key, s.public, data); err != nil {
		return nil, err
	}
	_, err = l.Encode()
	return l, err
}

// VerifyRevocations makes sure that a trusted key signed the list. The error is an
// [*Error] with the reason.
func (s *KeySet) VerifyRevocations(l *RevocationList) error {
	sig, err := decodeSignature(l.Signature)
	if err != nil {
		return err
	}
	data, err := l.signedBytes()
	if err != nil {
		return err
	}
	key, err := s.find("list", l.KeyID, l.Payload.IssuedAt)
	if err != nil {
		return err
	}
	if !verify(key, data, sig) {
		return refusedFor(ReasonSignature, "list")
	}
	return nil
}

// Revocations are the revoked licenses that are known now: those of the newest list.
// The zero value knows none. Asking takes no lock and no memory; methods are safe for
// concurrent use.
type Revocations struct {
	newest atomic.Pointer[RevocationList]
}

// ErrOlder says that a list is older than the one that is known, or another one of the
// same version.
var ErrOlder = errors.New("the list is not newer than the one that is known")

// Has reports whether a license is revoked, by its id in lower case.
func (r *Revocations) Has(id string) bool {
	list := r.newest.Load()
	if list == nil {
		return false
	}
	_, revoked := list.ids[id]
	return revoked
}

// List is the newest list and its text; nil: none is known. Neither may be changed.
func (r *Revocations) List() (*RevocationList, []byte) {
	list := r.newest.Load()
	if list == nil {
		return nil, nil
	}
	return list, list.text
}

// Take takes a list that was found, and reports whether it is another one than before.
// The error is an [*Error] of a list that is not to be believed, or [ErrOlder].
func (r *Revocations) Take(data []byte, trusted *KeySet, now time.Time) (changed bool, err error) {
	before := r.newest.Load()
	if before != nil && bytes.Equal(before.text, data) {
		return false, nil
	}
	l, err := DecodeRevocations(data)
	if err != nil {
		return false, err
	}
	if err := trusted.VerifyRevocations(l); err != nil {
		return false, err
	}
	if l.Payload.IssuedAt > now.Unix()+clockSkew {
		return false, badForm("payload.issued_at", "is %s, which lies ahead of the clock", stamp(l.Payload.IssuedAt))
	}
	l.text, l.ids = bytes.Clone(data), make(map[string]struct{}, len(l.Payload.Revoked))
	for _, id := range l.Payload.Revoked {
		l.ids[id] = struct{}{}
	}
	for {
		if before != nil {
			switch had := &before.Payload; {
			case l.Payload.Version < had.Version:
				return false, fmt.Errorf("%w: it has version %d, and %d was seen before", ErrOlder, l.Payload.Version, had.Version)
			case l.Payload.Version == had.Version && !reflect.DeepEqual(had, &l.Payload):
				return false, fmt.Errorf("%w: it has version %d as that one, and says something else", ErrOlder, had.Version)
			case l.Payload.Version == had.Version:
				return false, nil // signed anew, or spelled otherwise
			}
		}
		if r.newest.CompareAndSwap(before, l) {
			return true, nil
		}
		before = r.newest.Load()
	}
}

// UnmarshalJSON reads a list as strictly as [DecodeRevocations] does.
func (l *RevocationList) UnmarshalJSON(data []byte) error {
	decoded, err := DecodeRevocations(data)
	if err != nil {
		return err
	}
	*l = *decoded
	return nil
}
