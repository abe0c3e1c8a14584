package licensing

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/internal/sealed"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Config says where this deployment's license comes from, and whose
// licenses are believed. A missing, wrong or expired license is a state and no
// error of the configuration: the server starts, reloads and says so.
type Config struct {
	// The file of the license. A change is seen within five seconds; one that
	// does not verify is reported, and the last good one stays in force. Default:
	// none; the license is then kept in Caddy's storage, where the API puts it
	// for all nodes.
	File string `json:"file,omitempty"`

	// Instead, the license itself; use a placeholder such as `{env.NAME}`. Empty
	// is the state `missing`. Default: none.
	Inline string `json:"inline,omitempty"`

	// The keys whose licenses are believed. At least one is required, except in a
	// build with sealed keys, where none may be given.
	TrustedKeys []*TrustedKey `json:"trusted_keys,omitempty"`

	// The ids of licenses that are revoked. Default: none.
	RevokedIDs []string `json:"revoked_ids,omitempty"`

	// Where a signed list of revoked licenses comes from: the path of a file, or an
	// https address. It must be signed by a trusted key. Default: none.
	RevocationList string `json:"revocation_list,omitempty"`

	// Whom to ask for the license to follow the one in force, which must be kept in
	// storage. Default: nobody is asked.
	Renew *Renew `json:"renew,omitempty"`

	// How long before its end a license is `expiring`; 0 for never. Default:
	// 720h.
	Warn *caddy.Duration `json:"warn,omitempty"`

	// How long after its end a license is honored, in the state `grace`; 0 for
	// not at all. A license that carries its own wins. Default: 168h.
	Grace *caddy.Duration `json:"grace,omitempty"`

	// `allow` lets requests pass while there is no license; `deny` refuses
	// them. Default: deny.
	Missing string `json:"missing,omitempty"`

	// `log` never refuses a request for the license but only reports it; `deny`
	// refuses. Default: deny.
	Enforcement string `json:"enforcement,omitempty"`
}

// TrustedKey is a key whose licenses are believed.
type TrustedKey struct {
	// The PEM file of the public key; it may hold several. Required.
	File string `json:"file,omitempty"`

	// Retires the key: it counts only for licenses issued before this day (UTC)
	// or time (RFC 3339). Default: no limit.
	NotAfterIssue string `json:"not_after_issue,omitempty"`

	// Makes the key count for no license at all. Default: false.
	Revoked bool `json:"revoked,omitempty"`
}

// Values and defaults of [Config].
const (
	answerAllow = "allow"
	answerDeny  = "deny"
	answerLog   = "log"

	defaultWarn  = 720 * time.Hour
	defaultGrace = 168 * time.Hour

	// maxTrustedFile is the greatest size of a file of public keys.
	maxTrustedFile = 64 << 10
)

// The words that options take.
var (
	missingAnswers = parse.Choice{answerDeny, answerAllow}
	enforcements   = parse.Choice{answerDeny, answerLog}
)

// errNoTrust says what is missing where a license is asked for.
var errNoTrust = errors.New("no key is trusted to sign licenses: add `license { trusted_key /path/to/vendor.pub }` to the global option gatehouse")

// terms are a [Config] with its files and placeholders read.
type terms struct {
	source   active.Source
	verifier *license.Verifier
	facts    *active.Facts
	// revocations and renew are nil where there are none.
	revocations *active.RevocationSource
	renew       func(context.Context, *license.License, *active.Instance) ([]byte, error)
	identity    string // equal for equal terms; holds no secret but the license itself
}

// terms reads the configuration.
func (c *Config) terms() (terms, error) {
	if c.File != "" && c.Inline != "" {
		return terms{}, errTwoSources
	}
	if err := c.check(); err != nil {
		return terms{}, err
	}
	keys, err := c.keys()
	if err != nil {
		return terms{}, err
	}
	if len(keys) == 0 {
		return terms{}, errNoTrust
	}
	set, err := license.NewKeySet(keys...)
	if err != nil {
		return terms{}, fmt.Errorf("trusted_key: %w", err)
	}
	config := license.Config{Keys: set, RevokedIDs: c.RevokedIDs, Warn: defaultWarn, Grace: defaultGrace}
	if c.Warn != nil {
		config.Warn = time.Duration(*c.Warn)
	}
	if c.Grace != nil {
		config.Grace = time.Duration(*c.Grace)
	}
	t := terms{facts: new(active.Facts)}
	if t.verifier, err = license.NewVerifier(t.facts.Extend(config)); err != nil {
		return terms{}, err
	}
	if t.source, err = c.source(); err != nil {
		return terms{}, err
	}
	if t.revocations, err = c.revocationSource(); err != nil {
		return terms{}, err
	}
	vendor := ""
	if t.renew, vendor, err = c.Renew.provision(); err != nil {
		return terms{}, fmt.Errorf("renew: %w", err)
	}
	t.identity, err = termsIdentity(t.source, c.Inline, keys, config)
	t.identity += fmt.Sprintf("\x00%s\x00%s", c.RevocationList, vendor)
	return t, err
}

// errTwoSources is of a license that would come from two places.
var errTwoSources = errors.New("found file and inline, expected one of them, or neither")

// check refuses what no file can make right.
func (c *Config) check() error {
	if err := missingAnswers.Check("missing", c.Missing); err != nil {
		return err
	}
	if err := enforcements.Check("enforcement", c.Enforcement); err != nil {
		return err
	}
	if strings.Contains(c.RevocationList, "://") {
		if err := checkSecureURL(c.RevocationList); err != nil {
			return fmt.Errorf("revocation_list: %w", err)
		}
	}
	if c.Renew != nil {
		if c.File != "" || c.Inline != "" {
			return errors.New("renew: found a license that the configuration holds, expected one in storage: take `file` and `inline` out, and install the license once")
		}
		if err := c.Renew.check(); err != nil {
			return err
		}
	}
	for _, t := range c.TrustedKeys {
		if _, err := parseDay(t.NotAfterIssue); err != nil {
			return err
		}
	}
	return c.checkSealed()
}

// source says where the license comes from.
func (c *Config) source() (active.Source, error) {
	if c.Inline != "" {
		// An unset variable is no license, and a license holds braces of its own.
		return active.Inline(caddy.NewReplacer().ReplaceKnown(c.Inline, "")), nil
	}
	if c.File == "" {
		return active.Installed(), nil
	}
	var r parse.Resolver
	path := r.Text("file", c.File)
	return active.File(path), r.Err
}

// keys are the trusted keys: those of a sealed build, or else those configured.
func (c *Config) keys() ([]license.TrustedKey, error) {
	if Sealed() {
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(*sealed.TrustedKeys))
		if err != nil {
			return nil, fmt.Errorf("the keys sealed into this build are not base64 of PEM: %w", err)
		}
		keys, err := new(TrustedKey).parse(text)
		if err != nil {
			return nil, fmt.Errorf("the keys sealed into this build: %w", err)
		}
		return keys, nil
	}
	var keys []license.TrustedKey
	for _, t := range c.TrustedKeys {
		some, err := t.read()
		if err != nil {
			return nil, fmt.Errorf("trusted_key %s: %w", t.File, err)
		}
		keys = append(keys, some...)
	}
	return keys, nil
}

// read reads the file.
func (t *TrustedKey) read() ([]license.TrustedKey, error) {
	var r parse.Resolver
	path := r.Text("trusted_key", t.File)
	if r.Err != nil {
		return nil, r.Err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxTrustedFile {
		return nil, fmt.Errorf("%s is no file of at most %d KiB", path, maxTrustedFile>>10)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return t.parse(text)
}

// parse reads the PEM text of public keys.
func (t *TrustedKey) parse(text []byte) ([]license.TrustedKey, error) {
	retired, err := parseDay(t.NotAfterIssue)
	if err != nil {
		return nil, err
	}
	public, err := license.ParsePublicKeys(text)
	if err != nil {
		return nil, err
	}
	keys := make([]license.TrustedKey, 0, len(public))
	for _, key := range public {
		keys = append(keys, license.TrustedKey{Key: key, NotAfterIssue: retired, Revoked: t.Revoked})
	}
	return keys, nil
}

// parseDay reads a day or a time; empty is no time at all.
func parseDay(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("not_after_issue: found %q, expected a day such as 2027-01-31 or a time such as 2027-01-31T12:00:00Z", text)
}

// termsIdentity is what a keeper of a license is known by over reloads.
func termsIdentity(source active.Source, inline string, keys []license.TrustedKey, config license.Config) (string, error) {
	parts := []string{source.String(), inline, config.Warn.String(), config.Grace.String(), strings.Join(config.RevokedIDs, ",")}
	for _, key := range keys {
		id, err := license.KeyID(key.Key)
		if err != nil {
			return "", err
		}
		parts = append(parts, fmt.Sprint(id, key.NotAfterIssue.Unix(), key.Revoked))
	}
	return strings.Join(parts, "\x00"), nil
}

// Sealed reports whether trust was fixed when the program was built.
func Sealed() bool { return *sealed.TrustedKeys != "" }

// checkSealed refuses the options that would weaken a sealed build.
func (c *Config) checkSealed() error {
	if !Sealed() {
		return nil
	}
	option := ""
	switch {
	case len(c.TrustedKeys) > 0:
		option = "trusted_key"
	case c.Missing == answerAllow:
		option = "missing allow"
	case c.Enforcement == answerLog:
		option = "enforcement log"
	case c.Grace != nil:
		option = "grace"
	default:
		return nil
	}
	return errors.New(option + ": this build is sealed: its vendor has fixed whom licenses are believed from and what follows; take the option out")
}
