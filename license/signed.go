package license

import (
	"fmt"

	"github.com/gowebpki/jcs"
)

// prefix2 begins what version 2 signs. No text of version 1 begins with it, so
// neither version's bytes can be the other's.
const prefix2 = "gatehouse-license/v2\n"

// signedBytes gives the bytes that the signature of a license covers, after
// all checks of form: two different payloads never have the same bytes.
func signedBytes(keyID string, p *Payload) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.Version() == 1 {
		return []byte(p.text1()), nil
	}
	return canonical(keyID, p)
}

// canonical is the RFC 8785 form of key id and payload behind a prefix. It is
// made of the payload as it was understood, not as it was spelled.
func canonical(keyID string, p *Payload) ([]byte, error) {
	data, err := marshal(struct {
		KeyID   string   `json:"key_id"`
		Payload *Payload `json:"payload"`
	}{keyID, p}, "")
	if err != nil {
		return nil, fmt.Errorf("encoding the payload: %w", err)
	}
	data, err = jcs.Transform(data)
	if err != nil {
		return nil, fmt.Errorf("bringing the payload into its canonical form: %w", err)
	}
	return append([]byte(prefix2), data...), nil
}
