package license

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// What begins the bytes that the signatures of offline files cover, so that they are
// signatures of nothing else.
const (
	prefixOfflineRequest  = "gatehouse-offline-request/v1\n"
	prefixOfflineResponse = "gatehouse-offline-response/v1\n"
)

// What an offline file asks for.
const (
	OfflineActivation   = "activation"
	OfflineDeactivation = "deactivation"
)

// MaxOfflineSize is the greatest size of an offline file in bytes.
const MaxOfflineSize = 2 * MaxSize

// OfflineRequest is what an instance without a network asks its vendor, in a file that
// a person carries. The instance signs it by its own key (Ed25519), whose id is its
// hardware id: so nobody else can ask in its name.
type OfflineRequest struct {
	// Type is OfflineActivation or OfflineDeactivation.
	Type string `json:"type"`

	// RequestID is a UUID. Each request is answered once.
	RequestID string `json:"request_id"`

	Product string `json:"product"`

	// HardwareID is the [KeyID] of the instance's key.
	HardwareID string `json:"hardware_id"`

	// Account is the customer account's code, and Hosts are those asked for, nil for
	// the account's own: both of an activation.
	Account string   `json:"customer_account_code,omitzero"`
	Hosts   []string `json:"hosts,omitzero"`

	// LicenseKey is the license's id: of a deactivation.
	LicenseKey string `json:"license_key,omitzero"`

	// Date is when the request was made, in RFC 3339.
	Date string `json:"date"`
}

// OfflineLogin is what proves the login of the person who carries a request: it is added
// where there is a network, so the instance does not sign it.
type OfflineLogin struct {
	IDToken      string `json:"id_token,omitzero"`
	Code         string `json:"code,omitzero"`
	CodeVerifier string `json:"code_verifier,omitzero"`
	RedirectURI  string `json:"redirect_uri,omitzero"`
}

// SignOfflineRequest makes the file of a request, signed by the instance's key, which
// must be Ed25519. It sets the hardware id.
func SignOfflineRequest(key crypto.Signer, r OfflineRequest) ([]byte, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("a key of type %T signs no offline request; want Ed25519", key.Public())
	}
	id, err := KeyID(public)
	if err != nil {
		return nil, err
	}
	r.HardwareID = id
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	data, err := canonical(prefixOfflineRequest, r)
	if err != nil {
		return nil, err
	}
	signature, err := sign(key, public, data)
	if err != nil {
		return nil, err
	}
	return marshal(struct {
		Request   OfflineRequest `json:"request"`
		PublicKey string         `json:"public_key"`
		Signature string         `json:"signature"`
	}{r, base64.StdEncoding.EncodeToString(der), signature}, "  ")
}

// OpenOfflineRequest reads the file of a request as strictly as [Decode] does, and makes
// sure that the instance of its hardware id signed it. Errors are of type [*Error], and
// repeat nothing of the login.
func OpenOfflineRequest(data []byte) (r OfflineRequest, l OfflineLogin, err error) {
	envelope, err := readOffline(data)
	if err != nil {
		return r, l, asForm(err)
	}
	var document strictjson.Value
	var publicKey, signature string
	err = envelope.Read(strictjson.Fields{
		"request": func(v strictjson.Value) error {
			document = v
			return v.Read(strictjson.Fields{
				"type": text(&r.Type), "request_id": text(&r.RequestID), "product": text(&r.Product),
				"hardware_id": text(&r.HardwareID), "customer_account_code": text(&r.Account),
				"hosts": texts(&r.Hosts, maxHosts), "license_key": text(&r.LicenseKey), "date": text(&r.Date),
			}, "type", "request_id", "product", "hardware_id", "date")
		},
		"public_key": text(&publicKey), "signature": text(&signature),
		"id_token": text(&l.IDToken), "code": text(&l.Code),
		"code_verifier": text(&l.CodeVerifier), "redirect_uri": text(&l.RedirectURI),
	}, "request", "public_key", "signature")
	if err != nil {
		return r, l, asForm(err)
	}
	der, err := base64.StdEncoding.Strict().DecodeString(publicKey)
	var parsed any
	if err == nil {
		parsed, err = x509.ParsePKIXPublicKey(der)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return r, l, badForm("public_key", "is not the base64 of an Ed25519 public key in DER")
	}
	if id, err := KeyID(public); err != nil || id != r.HardwareID {
		return r, l, errOtherInstance
	}
	return r, l, verifyDocument(public, prefixOfflineRequest, document, signature)
}

// OfflineResponse is the vendor's answer to an [OfflineRequest], in a file that is
// carried back.
type OfflineResponse struct {
	// Type, RequestID, Product and HardwareID are the request's.
	Type       string `json:"type"`
	RequestID  string `json:"request_id"`
	Product    string `json:"product"`
	HardwareID string `json:"hardware_id"`

	// LicenseKey is the license's id.
	LicenseKey string `json:"license_key"`

	// Date is when the response was made, in RFC 3339.
	Date string `json:"date"`

	// Activation is what an answer to an activation over a network says besides the
	// license. It is not looked at here.
	Activation any `json:"activation,omitzero"`

	// License is that of an activation; nil for a deactivation.
	License *License `json:"license,omitzero"`
}

// SignOfflineResponse makes the file of a response. A nil Signer returns
// [ErrMissingKey].
func (s *Signer) SignOfflineResponse(r OfflineResponse) ([]byte, error) {
	if s == nil {
		return nil, ErrMissingKey
	}
	data, err := canonical(prefixOfflineResponse, r)
	if err != nil {
		return nil, err
	}
	signature, err := sign(s.key, s.public, data)
	if err != nil {
		return nil, err
	}
	return marshal(struct {
		Response  OfflineResponse `json:"response"`
		KeyID     string          `json:"key_id"`
		Signature string          `json:"signature"`
	}{r, s.keyID, signature}, "  ")
}

// OpenOfflineResponse reads the file of a response, makes sure that a trusted key
// signed it and that it answers the request with that id. The license in it is verified
// by whoever installs it. Errors are of type [*Error].
func (s *KeySet) OpenOfflineResponse(data []byte, requestID string) (*OfflineResponse, error) {
	envelope, err := readOffline(data)
	if err != nil {
		return nil, asForm(err)
	}
	r := &OfflineResponse{}
	var document strictjson.Value
	var keyID, signature string
	err = envelope.Read(strictjson.Fields{
		"response": func(v strictjson.Value) error {
			document = v
			return v.Read(strictjson.Fields{
				"type": text(&r.Type), "request_id": text(&r.RequestID), "product": text(&r.Product),
				"hardware_id": text(&r.HardwareID), "license_key": text(&r.LicenseKey), "date": text(&r.Date),
				"activation": func(v strictjson.Value) error { r.Activation = v.JSON; return nil },
				"license": func(v strictjson.Value) (err error) {
					r.License, err = Decode(v.JSON)
					return err
				},
			}, "type", "request_id", "product", "hardware_id", "license_key", "date")
		},
		"key_id": text(&keyID), "signature": text(&signature),
	}, "response", "key_id", "signature")
	if err != nil {
		return nil, asForm(err)
	}
	date, err := time.Parse(time.RFC3339, r.Date)
	if err != nil {
		return nil, badForm("response.date", "is %s; want a time as in RFC 3339", quote(r.Date))
	}
	key, err := s.find("response", keyID, date.Unix())
	if err != nil {
		return nil, err
	}
	if err := verifyDocument(key, prefixOfflineResponse, document, signature); err != nil {
		return nil, err
	}
	if r.RequestID != requestID {
		return nil, badForm("response.request_id", "is that of another request; want the response to the request that was made here last")
	}
	return r, nil
}

// readOffline reads the object of an offline file.
func readOffline(data []byte) (strictjson.Value, error) {
	if len(data) > MaxOfflineSize {
		return strictjson.Value{}, badForm("", "has %d bytes; want at most %d", len(data), MaxOfflineSize)
	}
	data, err := bom.Skip(data)
	if err != nil {
		return strictjson.Value{}, err
	}
	return strictjson.Parse(bytes.TrimSpace(data))
}

func verifyDocument(key crypto.PublicKey, prefix string, document strictjson.Value, signature string) error {
	data, err := jcs.Transform(document.JSON)
	if err != nil {
		return badForm(document.Path, "has no canonical form (RFC 8785)")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || !verify(key, append([]byte(prefix), data...), raw) {
		return refusedFor(ReasonSignature, "file")
	}
	return nil
}
