package usage

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gowebpki/jcs"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// MaxReport bounds an encoded report in bytes.
const MaxReport = 16 << 10

// prefixReport begins what a report's signature covers.
const prefixReport = "gatehouse-license-usage/v1\n"

// Report says how much of a license is used, signed by the instance: numbers, and
// nothing of people. The instance's operator holds its key, so it says which deployment
// reports, and not that the numbers are right.
type Report struct {
	Usage     Usage  `json:"usage"`
	PublicKey string `json:"public_key"` // SubjectPublicKeyInfo (RFC 5280) in base64
	Signature string `json:"signature"`  // of the prefix and the RFC 8785 form of usage, in base64
}

// Usage is what a report says.
type Usage struct {
	// Instance is the fingerprint of the instance.
	Instance string `json:"instance"`
	// LicenseID is the license in force; empty: it has none, or there is none.
	LicenseID string `json:"license_id"`
	// At is when it was counted, in Unix seconds.
	At int64 `json:"at"`
	// Limits are those of the license that are counted, by name.
	Limits map[string]Share `json:"limits"`
}

// Share is how much of a limit is used.
type Share struct {
	// Used is how many there are. Limit is how many there may be; -1: any number.
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"`
	// Enforcement is advisory or deny.
	Enforcement license.Enforcement `json:"enforcement"`
}

// Signer signs a report: an [active.Instance].
type Signer interface {
	Fingerprint() string
	Public() []byte
	Sign(prefix string, document []byte) ([]byte, error)
}

// Sign makes a report.
func Sign(u Usage, by Signer) (*Report, error) {
	u.Instance = by.Fingerprint()
	document, err := json.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("encoding the usage: %w", err)
	}
	signature, err := by.Sign(prefixReport, document)
	if err != nil {
		return nil, err
	}
	return &Report{u, base64.StdEncoding.EncodeToString(by.Public()), base64.StdEncoding.EncodeToString(signature)}, nil
}

// Open reads a report and makes sure that the instance that it names signed it.
func Open(data []byte) (*Usage, error) {
	if len(data) > MaxReport {
		return nil, fmt.Errorf("the report has %d bytes; want at most %d", len(data), MaxReport)
	}
	var r struct {
		Usage     jsontext.Value `json:"usage"`
		PublicKey []byte         `json:"public_key"`
		Signature []byte         `json:"signature"`
	}
	if err := json.Unmarshal(data, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("not a report of usage; want usage, public_key and signature")
	}
	var u Usage
	if err := json.Unmarshal(r.Usage, &u, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("usage: want instance, license_id, at and limits")
	}
	parsed, err := x509.ParsePKIXPublicKey(r.PublicKey)
	key, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, errors.New("public_key: want an Ed25519 key in base64")
	}
	if id, err := license.KeyID(key); err != nil || id != u.Instance {
		return nil, errors.New("public_key: is not the key of the instance that the report names")
	}
	canonical, err := jcs.Transform(r.Usage)
	if err != nil || !ed25519.Verify(key, append([]byte(prefixReport), canonical...), r.Signature) {
		return nil, errors.New("signature: is not the instance's signature of this report; it was changed after it was signed")
	}
	if at := time.Unix(u.At, 0); at.Year() < 2000 || at.Year() > 9999 {
		return nil, errors.New("at: want a time in Unix seconds")
	}
	return &u, nil
}
