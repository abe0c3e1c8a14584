package auth

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// compact is a token in JWS compact serialization, taken apart and decoded but not
// verified.
type compact struct {
	jose.Compact
	header header
}

// header is the JOSE header (RFC 7515, section 4.1) as far as it matters here.
// Members that would bring a key along (jku, jwk, x5u, x5c) are never read.
type header struct {
	hint      issuer.Hint // of the key
	mediaType string      // typ as section 4.1.9 reads it: lower case, without "application/"
}

// readHeader refuses headers that ask for what is not understood here: any
// critical extension (RFC 7515, section 4.1.11) and unencoded payloads (RFC
// 7797).
func readHeader(members claimSet) (h header, refusal *Refusal) {
	algorithm, ok1 := members.text("alg")
	keyID, ok2 := members.text("kid")
	typ, ok3 := members.text("typ")
	if !ok1 || !ok2 || !ok3 {
		return h, ErrHeaderMember
	}
	x5t, _ := members.text("x5t") // no more than a hint
	x5tS256, _ := members.text("x5t#S256")
	if encoded, ok := members.get("b64"); members.present("crit") || ok && encoded.Kind() != 't' {
		return h, ErrCritical
	}
	hint := issuer.Hint{Algorithm: algorithm, KeyID: keyID, HasKeyID: members.present("kid"), X5T: x5t, X5TS256: x5tS256}
	return header{hint, mediaType(typ)}, nil
}

// mediaType normalizes a typ: case does not matter and "application/" may be
// left out.
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// badJSON says why a text could not be read as one strict JSON object.
func badJSON(text []byte) *Refusal {
	err := readOne(text)
	switch {
	case err == nil:
		return ErrNotJWS // it is something else than one object
	case errors.Is(err, jsontext.ErrDuplicateName):
		return ErrRepeatedMember
	case readOne(text, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) == nil:
		return ErrNotUnicode
	}
	return ErrNotJWS
}

func readOne(text []byte, options ...jsontext.Options) error {
	_, err := jsontext.NewDecoder(bytes.NewReader(text), options...).ReadValue()
	return err
}
