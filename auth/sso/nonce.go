package sso

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
)

const (
	// LoginTime is how long a login may take: from the address that was handed out
	// to the license that is asked for.
	LoginTime = 15 * time.Minute

	minNonceKey = 32 // bytes
	nonceMAC    = 16 // bytes
	nonceStamp  = 8  // bytes
	nonceRandom = 22 // characters of randomText

	nonceLabel = "gatehouse-sso-nonce/v1\n"
)

// nonces makes and knows the nonces of logins that are begun here (OpenID Connect
// Core 1.0, section 3.1.2.1). Nothing is kept of them: a nonce is
//
//	[<the client's own>.]<128 random bits><time><MAC>
//
// and the MAC covers all of that, the account and the product. So an ID token with
// such a nonce comes from a login that was begun here, for that account and that
// product, and not long ago.
type nonces struct{ key []byte }

// make gives a nonce; own is the client's, empty if it has none.
func (n nonces) make(product, account, own, random string, now time.Time) string {
	var stamp [nonceStamp]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(now.Unix()))
	text := random + base64.RawURLEncoding.EncodeToString(append(stamp[:], n.mac(product, account, own, random, stamp)...))
	if own == "" {
		return text
	}
	return own + "." + text
}

// begun tells when a login began, by its nonce; not ok if the nonce is not of here, or
// of another account or product.
func (n nonces) begun(product, account, nonce string) (at time.Time, ok bool) {
	own, text := "", nonce
	if dot := strings.LastIndexByte(nonce, '.'); dot >= 0 {
		own, text = nonce[:dot], nonce[dot+1:]
	}
	if len(n.key) == 0 || len(text) < nonceRandom {
		return at, false
	}
	random := text[:nonceRandom]
	rest, err := base64.RawURLEncoding.Strict().DecodeString(text[nonceRandom:])
	if err != nil || len(rest) != nonceStamp+nonceMAC {
		return at, false
	}
	stamp := [nonceStamp]byte(rest)
	if !hmac.Equal(rest[nonceStamp:], n.mac(product, account, own, random, stamp)) {
		return at, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(stamp[:])), 0), true
}

func (n nonces) mac(product, account, own, random string, stamp [nonceStamp]byte) []byte {
	mac := hmac.New(sha256.New, n.key)
	mac.Write([]byte(nonceLabel))
	for _, part := range []string{product, account, own, random, string(stamp[:])} {
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)[:nonceMAC]
}
