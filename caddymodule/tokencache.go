package caddymodule

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// TokenCache is how much memory verified tokens may take that are kept: a size
// such as 64MiB, or a number, which stands for as many KiB; an ordinary token
// takes about one. Empty is the default.
type TokenCache string

// The limits of a token cache.
const (
	defaultTokenCache  = 100_000
	maxTokenCache      = 10_000_000
	leastTokenCache    = 1 << 20  // bytes, where a size is written
	mostTokenCache     = 16 << 30 // bytes
	tokenCacheUnit     = 1 << 10  // bytes
	tokenCacheExpected = "a number of KiB from 0 to 10000000 or a size from 1MiB to 16GiB such as 64MiB"
)

// bytes is the bound of the cache; 0 is no cache.
func (c TokenCache) bytes() (int64, error) {
	if c == "" {
		return defaultTokenCache * tokenCacheUnit, nil
	}
	if n, err := strconv.Atoi(string(c)); err == nil && n >= 0 && n <= maxTokenCache {
		return int64(n) * tokenCacheUnit, nil
	}
	size, err := humanize.ParseBytes(string(c))
	_, noUnit := strconv.ParseFloat(string(c), 64)
	if err != nil || noUnit == nil || size < leastTokenCache || size > mostTokenCache {
		return 0, fmt.Errorf("found %q, expected %s", string(c), tokenCacheExpected)
	}
	return int64(size), nil
}

// UnmarshalJSON takes a number or a text.
func (c *TokenCache) UnmarshalJSON(value []byte) error {
	if json.Unmarshal(value, (*string)(c)) != nil {
		*c = TokenCache(value) // a number, or what bytes has an error for
	}
	return nil
}

// MarshalJSON gives a number as one.
func (c TokenCache) MarshalJSON() ([]byte, error) {
	if n, err := strconv.Atoi(string(c)); err == nil {
		return json.Marshal(n)
	}
	return json.Marshal(string(c))
}

// parseTokenCache reads a number of KiB or a size.
func (c *TokenCache) parseTokenCache(d *caddyfile.Dispenser) error {
	option, text := d.Val(), ""
	if err := parse.ReadWord(d, &text, tokenCacheExpected); err != nil {
		return err
	}
	*c = TokenCache(text)
	if _, err := c.bytes(); err != nil {
		return d.Errf("%s: %v", option, err)
	}
	return nil
}
