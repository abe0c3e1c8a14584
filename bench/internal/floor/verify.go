package floor

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"time"
)

// knows reports whether the token was seen before, and has not expired.
func (f *Floor) knows(token string) bool {
	s := f.shard(token)
	s.mu.RLock()
	expires, found := s.tokens[token]
	s.mu.RUnlock()
	return found && time.Now().Unix() < expires
}

// learn verifies a new token and keeps it.
func (f *Floor) learn(token string) bool {
	signed, signature, found := cutLast(token)
	if !found {
		return false
	}
	first, second, found := strings.Cut(signed, ".")
	if !found {
		return false
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss string
		Exp int64
	}
	if !decode(first, &header) || header.Alg != f.Algorithm || header.Kid != f.KeyID {
		return false
	}
	if !decode(second, &claims) || claims.Iss != f.Issuer || time.Now().Unix() >= claims.Exp {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !Verify(f.key, []byte(signed), raw) {
		return false
	}
	s := f.shard(token)
	s.mu.Lock()
	// A header's value is a part of the whole header, which must not be kept.
	s.tokens[strings.Clone(token)] = claims.Exp
	s.mu.Unlock()
	return true
}

func cutLast(token string) (signed, signature string, found bool) {
	at := strings.LastIndexByte(token, '.')
	if at < 0 {
		return "", "", false
	}
	return token[:at], token[at+1:], true
}

func decode(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

// Verify is the bare cryptography of RS256, ES256 and EdDSA, hash included.
func Verify(key crypto.PublicKey, signed, signature []byte) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		digest := sha256.Sum256(signed)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		if len(signature) != 64 {
			return false
		}
		digest := sha256.Sum256(signed)
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(key, digest[:], r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(key, signed, signature)
	}
	return false
}
