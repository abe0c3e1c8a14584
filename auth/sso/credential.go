package sso

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/time/rate"
)

// maxAPIKeyBytes bounds a configured API key; real ones have 36.
const maxAPIKeyBytes = 256

// Credential lets a client ask by HMAC.
type Credential struct {
	// APIKey names the credential in requests; it is no secret. Up to 256
	// visible ASCII characters without quotes and backslashes. Required.
	APIKey string

	// SharedKey is what signatures are keyed by, byte for byte. Required.
	SharedKey Secret

	// Disabled credentials are answered `revoked_api_key`.
	Disabled bool

	// Products are those that the key may ask for, of Config.Products. Empty:
	// all.
	Products []string

	// Accounts are the codes of those that the key may ask for, of
	// Config.Accounts. Empty: all.
	Accounts []string

	// RateLimit is how many signed requests a second are answered, and how many
	// at once. Zero: Config.RateLimit; below zero: no limit.
	RateLimit int
}

// credential is a Credential made ready.
type credential struct {
	key      Secret
	disabled bool
	products []string      // nil: all
	accounts []string      // nil: all
	limiter  *rate.Limiter // nil: no limit
}

// compile checks the credential and makes it ready.
func (c Credential) compile(cfg Config) (*credential, error) {
	if err := c.validate(cfg); err != nil {
		return nil, err
	}
	limit := c.RateLimit
	if limit == 0 {
		limit = cfg.RateLimit
	}
	ready := &credential{
		key:      c.SharedKey,
		disabled: c.Disabled,
		products: slices.Clone(c.Products),
		accounts: slices.Clone(c.Accounts),
	}
	if limit > 0 {
		ready.limiter = rate.NewLimiter(rate.Limit(limit), limit)
	}
	return ready, nil
}

func (c Credential) validate(cfg Config) error {
	if err := checkAPIKey(c.APIKey); err != nil {
		return err
	}
	if c.SharedKey.text() == "" {
		return fmt.Errorf("credential %q: shared key is empty: give the key that clients sign with", c.APIKey)
	}
	for _, p := range c.Products {
		if !slices.Contains(cfg.Products, p) {
			return fmt.Errorf("credential %q: product %q is not one of the products %q", c.APIKey, p, cfg.Products)
		}
	}
	for _, code := range c.Accounts {
		if !slices.ContainsFunc(cfg.Accounts, func(a Account) bool { return a.Code == code }) {
			return fmt.Errorf("credential %q: account %q is not declared: declare it, or name one that is", c.APIKey, code)
		}
	}
	return nil
}

// checkAPIKey does not quote a key of the wrong form: whoever mixes up the two
// keys would find the shared one in an error.
func checkAPIKey(key string) error {
	switch {
	case key == "":
		return errors.New("credential: API key is empty: give the key that names the credential")
	case len(key) > maxAPIKeyBytes:
		return fmt.Errorf("credential: API key has %d bytes: at most %d are possible", len(key), maxAPIKeyBytes)
	}
	for i := range len(key) {
		if key[i] <= ' ' || !isQuotable(key[i]) {
			return errors.New(`credential: API key holds a character that cannot be sent: only visible ASCII but " and \ can`)
		}
	}
	return nil
}

// mayUse tells whether the key may ask for the product. No credential stands for
// a bearer of a token, who may ask for all.
func (c *credential) mayUse(product string) bool {
	return c == nil || len(c.products) == 0 || slices.Contains(c.products, product)
}

// maySee tells whether the key may ask for the account.
func (c *credential) maySee(account string) bool {
	return c == nil || len(c.accounts) == 0 || slices.Contains(c.accounts, account)
}
