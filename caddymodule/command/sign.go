package command

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// passphraseVariable is the environment variable that holds the passphrase of
// an age file.
const passphraseVariable = "GATEHOUSE_PASSPHRASE" //nolint:gosec // A name, no secret.

// signing holds the flags of sign.
type signing struct {
	key, keyEnv, passphraseFile               string
	kind, description, ttl                    string
	hosts, features, limits                   []string
	version                                   int
	id, notBefore, grace, issuer, environment string
	enforcement                               []string
	instance                                  string
	asJSON                                    bool
}

func (p *program) sign() *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use:   "sign --key FILE --type TYPE --allowed-hosts HOSTS --description TEXT --expire-at WHEN",
		Short: "Signs a license and prints it",
		Long: `
Signs a license offline and prints the license itself.

The key is a PEM file (PKCS #8, PKCS #1, SEC 1) that nobody else may read, or such a
file encrypted with a passphrase by age. The passphrase is read from --passphrase-file,
from the environment variable GATEHOUSE_PASSPHRASE, or from the terminal.

The license is of version 1, which hoop's tools read, if the key is RSA and no flag needs
version 2. Without --features it grants every feature; --features "" grants none.
`,
		Example: `  caddy gatehouse sign --key vendor.key --type enterprise --allowed-hosts 'gw.acme.example,*.acme.example' --description 'Acme Corp' --expire-at 365d > license.json
  caddy gatehouse sign --key vendor.key --type enterprise --allowed-hosts gw.acme.example --description 'Acme Corp' --expire-at 2030-01-01 --features sso,audit --grace 14d --limits users=50 --environment production
  caddy gatehouse sign --key-env VENDOR_KEY --type oss --allowed-hosts '*' --description 'Community' --expire-at 8760h`,
		Args: cobra.NoArgs,
	}
	s.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		signed, err := p.signLicense(cmd, &s)
		if err != nil {
			return err
		}
		text, err := signed.Encode()
		if err != nil {
			return err
		}
		return writeDocument(cmd, text, s.asJSON)
	}
	return cmd
}

func (s *signing) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	s.keyFlags(cmd)
	f.StringVar(&s.kind, "type", "", "Product edition: oss or enterprise (required)")
	f.StringArrayVar(&s.hosts, "allowed-hosts", nil, "Host patterns, separated by commas or repeated: a name, *.name, an IP address or * (required)")
	f.StringVar(&s.description, "description", "", "For whom the license is, 2 to 200 bytes (required)")
	f.SetNormalizeFunc(synonym("expires-at", "expire-at"))
	f.StringVar(&s.ttl, "expire-at", "", "How long from now it is valid, such as 365d or 8760h, or when it ends: a day (its beginning in UTC), or a time of RFC 3339 (required)")
	f.StringArrayVar(&s.features, "features", nil, "Features granted, separated by commas or repeated (default: every one)")
	f.IntVar(&s.version, "version", 0, "Version of the format, 1 or 2 (default: 1 where it can be)")
	f.StringVar(&s.id, "id", "", "UUID by which the license can be revoked (default in version 2: a random one)")
	f.StringVar(&s.notBefore, "not-before", "", "When it begins to be valid: a time, a day, or a duration from now (default: at once)")
	f.StringVar(&s.grace, "grace", "", "How long after its end it is still honored, 0 included (default: as the customer's configuration says, 7 days unless it is changed)")
	f.StringVar(&s.issuer, "issuer", "", "Who issues the license, for people to read")
	f.StringArrayVar(&s.limits, "limits", nil, "Limits as name=integer, separated by commas or repeated")
	f.StringArrayVar(&s.enforcement, "enforcement", nil, "What happens beyond a limit, as name=advisory or name=deny, separated by commas or repeated (default: advisory)")
	f.StringVar(&s.instance, "instance", "", "Fingerprint of the only deployment that the license is valid for (default: any)")
	f.StringVar(&s.environment, "environment", "", "Where the license is meant to be used, such as production")
	f.BoolVar(&s.asJSON, "json", false, "Print the license, which is JSON anyway, on one line")
	suggest(cmd, "type", string(license.OSS), string(license.Enterprise))
	suggest(cmd, "version", "1", "2")
	require(cmd, "type", "allowed-hosts", "description", "expire-at")
}

// keyFlags are those that say which key signs.
func (s *signing) keyFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.key, "key", "", "File of the private key")
	f.StringVar(&s.keyEnv, "key-env", "", "Instead: environment variable that holds the private key as PEM or base64 of PEM")
	f.StringVar(&s.passphraseFile, "passphrase-file", "", "File of the passphrase of an age file")
	cmd.MarkFlagsOneRequired("key", "key-env")
	cmd.MarkFlagsMutuallyExclusive("key", "key-env")
}

func (p *program) signLicense(cmd *cobra.Command, s *signing) (*license.License, error) {
	request, err := p.signRequest(cmd, s)
	if err != nil {
		return nil, err
	}
	signer, err := p.signer(cmd, s)
	if err != nil {
		return nil, err
	}
	return signer.Sign(request)
}

func (p *program) signer(cmd *cobra.Command, s *signing) (*license.Signer, error) {
	key, err := p.signingKey(cmd, s)
	if err != nil {
		return nil, err
	}
	return license.NewSigner(license.SignerConfig{Key: key, Now: p.now})
}

func (p *program) signRequest(cmd *cobra.Command, s *signing) (r license.Request, err error) {
	given := cmd.Flags().Changed
	r = license.Request{
		Type:         license.Type(s.kind),
		AllowedHosts: splitList(true, s.hosts),
		Description:  s.description,
		Features:     splitList(given("features"), s.features),
		Version:      s.version,
		ID:           s.id,
		Issuer:       s.issuer,
		Environment:  s.environment,
		Instance:     s.instance,
	}
	if at, isTime := parseTime(s.ttl); isTime {
		now := p.now().Truncate(time.Second) // the signer adds to its own clock's second
		if r.TTL = at.Sub(now); r.TTL <= 0 || !now.Add(r.TTL).Equal(at) {
			return r, fmt.Errorf("expire_at: is %s; want a day or a time that is ahead, by 290 years at most", s.ttl)
		}
	} else if r.TTL, err = license.ParseTTL(s.ttl); err != nil {
		return r, fmt.Errorf("%w, a day such as 2030-01-31, or a time of RFC 3339", err)
	}
	if given("version") && s.version != 1 && s.version != 2 {
		return r, fmt.Errorf("version: is %d; want 1 or 2, or leave it out", s.version)
	}
	if given("not-before") {
		at, err := p.parseMoment("not_before", s.notBefore)
		if err != nil {
			return r, err
		}
		seconds := at.Unix()
		r.NotBefore = &seconds
	}
	if given("grace") {
		grace, err := parseSpan("grace", s.grace)
		if err != nil {
			return r, err
		}
		seconds := int64(grace / time.Second)
		r.Grace = &seconds
	}
	if r.Limits, err = parseLimits(splitList(given("limits"), s.limits)); err != nil {
		return r, err
	}
	r.Enforcement, err = parseEnforcement(splitList(given("enforcement"), s.enforcement))
	return r, err
}

// signingKey reads the private key. On a terminal the passphrase of an age file
// is asked for.
func (p *program) signingKey(cmd *cobra.Command, s *signing) (crypto.Signer, error) {
	passphrase := p.getenv(passphraseVariable)
	if cmd.Flags().Changed("passphrase-file") {
		text, err := readSecretFile(cmd, s.passphraseFile)
		if err != nil {
			return nil, fmt.Errorf("reading the passphrase: %w", err)
		}
		passphrase = text
	}
	key, err := p.loadKey(s, passphrase)
	if !errors.Is(err, keyfile.ErrPassphrase) {
		return key, err
	}
	if !p.terminal(cmd.InOrStdin()) {
		return nil, fmt.Errorf("%w in --passphrase-file or %s", err, passphraseVariable)
	}
	_, _ = fmt.Fprint(cmd.ErrOrStderr(), "Passphrase of the key: ")
	typed, err := p.secret(cmd.InOrStdin())
	_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil {
		return nil, fmt.Errorf("asking for the passphrase: %w", err)
	}
	return p.loadKey(s, string(typed))
}

func (p *program) loadKey(s *signing, passphrase string) (crypto.Signer, error) {
	if s.keyEnv == "" {
		return keyfile.Load(s.key, passphrase)
	}
	value := p.getenv(s.keyEnv)
	if value == "" {
		return nil, fmt.Errorf("the environment variable %.80q is not set; want the private key in it", s.keyEnv)
	}
	key, err := keyfile.Parse([]byte(value), passphrase)
	if err != nil {
		return nil, fmt.Errorf("reading the private key of the environment variable %.80q: %w", s.keyEnv, err)
	}
	return key, nil
}
