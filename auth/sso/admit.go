package sso

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
)

// Caller is somebody who may ask.
type Caller struct {
	who     *credential
	limited bool
}

// Admit decides who is asking, as [Service.Answer] does.
func (s *Service) Admit(ctx context.Context, r Request) (*Caller, *Refusal) {
	who, limited, refusal := s.admit(ctx, r)
	if refusal != nil {
		return nil, refusal
	}
	return &Caller{who, limited}, nil
}

// Check decides whether a caller may ask about a product of an account. An account
// that the caller may not see is as none.
func (s *Service) Check(c *Caller, product, account string) *Refusal {
	if refusal := s.CheckProduct(c, product); refusal != nil {
		return refusal
	}
	if !s.Sees(c, product, account) {
		return errAccount
	}
	return nil
}

// CheckProduct decides whether a caller may ask about a product, and at the moment.
func (s *Service) CheckProduct(c *Caller, product string) *Refusal {
	switch {
	case !slices.Contains(s.products, product):
		return errProduct
	case !allows(c.who.products, product):
		return errKeyProduct
	case c.limited:
		return errLimited
	}
	return nil
}

// Sees tells whether there is an account of that code with that product, for the caller
// to see.
func (s *Service) Sees(c *Caller, product, account string) bool {
	a := s.accounts[account]
	return a != nil && allows(c.who.accounts, account) && allows(a.products, product)
}

// Success is the answer to a request that is granted: the body as compact JSON, signed
// if there is a key to sign with.
func (s *Service) Success(body any) Response {
	answer, err := s.success(body)
	if err != nil {
		return Refused(&Refusal{Code: CodeInternal, Message: "The answer cannot be made", Cause: err})
	}
	return answer
}

// SignText is the signature of a text, as that of an answer: base64 of RSA PKCS #1
// v1.5 with SHA-256. Empty: there is no key to sign with.
func (s *Service) SignText(text string) (string, error) {
	if s.signingKey == nil {
		return "", nil
	}
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.signingKey, crypto.SHA256, digest[:])
	if err != nil {
		return "", errors.New("signing the answer failed") // the cause is about the key
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}
