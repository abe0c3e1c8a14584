package revocation

import (
	"slices"
	"time"
	"unique"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// Bounds of a revocation.
const (
	// MaxName bounds subject, session, client and token id, in bytes.
	MaxName = 1024
	// MaxText bounds reason and by, in bytes.
	MaxText = 255
	// DefaultLifetime is how long a token is taken to live where nothing says so.
	DefaultLifetime = 24 * time.Hour
	// MaxKept is how long a revocation is kept at most.
	MaxKept = 10 * 366 * 24 * time.Hour
	// maxAhead is how far a moment may lie ahead, as clocks differ.
	maxAhead = time.Minute

	maxIssuer = 2048
)

// Draft says what is to be revoked.
type Draft struct {
	// Issuer is the identifier of the issuer of the tokens. Required.
	Issuer string
	// Target and Name say which tokens. Required: 1 to 1024 bytes of UTF-8 without
	// control characters.
	Target Target
	Name   string
	// IssuedBefore: tokens issued at or before it are refused. Zero: now. It lies at
	// most a minute ahead. Fractions of a second are dropped.
	IssuedBefore time.Time
	// Lifetime is how long such a token is accepted at most, from when it is issued.
	// Zero: 24 hours.
	Lifetime time.Duration
	// Until keeps the revocation until then, if that is later than by Lifetime. Zero:
	// not said. It lies at most ten years ahead.
	Until time.Time
	// By says who revokes, and Reason why: at most 255 bytes of UTF-8 without control
	// characters each. They may be empty.
	By, Reason string
}

// InputError says what is wrong with a [Draft]; its members are called as in the API.
type InputError = strictjson.InputError

// validate checks what does not depend on the time.
func (d *Draft) validate() error {
	if !slices.Contains(Targets, d.Target) {
		return strictjson.Invalid("target", "is %s; want subject, session, client or token_id", strictjson.Quote(string(d.Target), 48))
	}
	for _, text := range []struct {
		member, value string
		least, most   int
	}{
		{"issuer", d.Issuer, 1, maxIssuer}, {string(d.Target), d.Name, 1, MaxName}, {"by", d.By, 0, MaxText}, {"reason", d.Reason, 0, MaxText},
	} {
		if err := strictjson.CheckText(text.member, text.value, text.least, text.most); err != nil {
			return err
		}
	}
	return nil
}

// make makes the revocation of a draft that is valid; now are Unix seconds.
func (d *Draft) make(now int64) (*Revocation, error) {
	before, lifetime := now, d.Lifetime
	if !d.IssuedBefore.IsZero() {
		before = d.IssuedBefore.Unix()
	}
	if before > now+int64(maxAhead/time.Second) {
		return nil, strictjson.Invalid("issued_before", "is %d, in the future; want now, %d, or earlier", before, now)
	}
	latest := now + int64(MaxKept/time.Second)
	if d.Until.Unix() > latest {
		return nil, strictjson.Invalid("expires_at", "is in the year %d; want ten years ahead at most", d.Until.UTC().Year())
	}
	if lifetime <= 0 {
		lifetime = DefaultLifetime
	}
	expires := before + int64((lifetime+time.Second-1)/time.Second)
	if !d.Until.IsZero() {
		expires = max(expires, d.Until.Unix())
	}
	return &Revocation{
		IssuedBefore: before, Created: now, Expires: min(expires, latest),
		text: d.Name + "\n" + d.Reason, traits: unique.Make(traits{d.Issuer, d.Target, d.By}),
	}, nil
}
