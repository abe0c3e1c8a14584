package command

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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
  caddy gatehouse sign --key vendor.key --type enterprise --allowed-hosts gw.acme.example --description 'Acme Corp' --expire-at 8640h --features sso,audit --grace 14d --limits seats=50 --environment production
  caddy gatehouse sign --key-env VENDOR_KEY --type oss --allowed-hosts '*' --description 'Community' --expire-at 2030-01-01`,
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
	f.StringVar(&s.ttl, "expire-at", "", "How long from now it is valid, such as 8640h or 365d, or when it ends: a day (its beginning in UTC), or a time of RFC 3339 (required)")
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

func (p *program) keygen() *cobra.Command {
	var kind, out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "keygen --out FILE",
		Short: "Makes a key to sign licenses with",
		Long: `
Makes a key to sign licenses with: the private key in FILE, readable by you alone,
and the public key, which deployments trust, in FILE.pub. It never overwrites a file.

Hoop's own tools read licenses of RSA keys only; use --type rsa if they must.
`,
		Example: `  caddy gatehouse keygen --out vendor.key
  caddy gatehouse keygen --type rsa --out /etc/gatehouse/vendor.key --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&kind, "type", string(keyfile.Ed25519), "Type of the key: ed25519, rsa or ecdsa")
	suggest(cmd, "type", string(keyfile.Ed25519), string(keyfile.RSA), string(keyfile.ECDSA))
	cmd.Flags().StringVarP(&out, "out", "o", "", "File for the private key (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	require(cmd, "out")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		id, err := makeKey(keyfile.Kind(kind), out)
		if err != nil {
			return err
		}
		if keyfile.Kind(kind) != keyfile.RSA {
			note(cmd.ErrOrStderr(), "note: hoop's own tools read RSA only; if they must read your licenses, make a key with --type rsa")
		}
		public := out + ".pub"
		if asJSON {
			return printJSON(cmd.OutOrStdout(), struct {
				Type    string `json:"type"`
				KeyID   string `json:"key_id"`
				Private string `json:"private_key"`
				Public  string `json:"public_key"`
			}{kind, id, out, public})
		}
		t := table{}
		t.add("Type", kind)
		t.add("Key ID", id)
		t.add("Private key", out+" (keep it secret)")
		t.add("Public key", public+" (for trusted_key)")
		return t.print(cmd.OutOrStdout())
	}
	return cmd
}

// makeKey makes a key and its files, and returns its id.
func makeKey(kind keyfile.Kind, path string) (string, error) {
	if path == "" {
		return "", errors.New("--out is empty; want the file for the private key")
	}
	if kind == "" {
		return "", fmt.Errorf("--type is empty; want %s, %s or %s", keyfile.Ed25519, keyfile.RSA, keyfile.ECDSA)
	}
	key, err := keyfile.Generate(kind)
	if err != nil {
		return "", err
	}
	id, err := license.KeyID(key.Public())
	if err != nil {
		return "", err
	}
	if err := keyfile.Create(path, key); errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%w; a key is never overwritten, name another file", err)
	} else if err != nil {
		return "", err
	}
	return id, nil
}

// revoking holds the flags of revocations.
type revoking struct {
	signing
	revoke, restore, trusted []string
	previous, next           string
	version                  int64
	asJSON                   bool
}

func (p *program) revocations() *cobra.Command {
	var r revoking
	cmd := &cobra.Command{
		Use:   "revocations --key FILE [--previous FILE] [--revoke ID]",
		Short: "Signs a list of licenses that their vendor has taken back",
		Long: `
Signs a list of the ids of licenses that no longer count, offline, and prints it.
Deployments that name it in revocation_list refuse those licenses.

--previous is the list to go on from: its ids are kept, and the version is one more than
its own, because deployments take no list that is older than one they have seen. It must be
signed by the same key, or by one of --trusted-key. Publish a new list before --next-update
is over, even if nothing is new.
`,
		Example: `  caddy gatehouse license revocations --key vendor.key --revoke 5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11 > revocations.json
  caddy gatehouse license revocations --key vendor.key --previous revocations.json --next-update 30d > new.json`,
		Args: cobra.NoArgs,
	}
	r.keyFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.previous, "previous", "", "The list to go on from, a file or - for stdin (default: none, the list is the first)")
	f.StringArrayVar(&r.trusted, "trusted-key", nil, "PEM file of public keys that may have signed the previous list; repeatable (default: the one that signs)")
	f.StringArrayVar(&r.revoke, "revoke", nil, "Ids of licenses to take back, separated by commas or repeated")
	f.StringArrayVar(&r.restore, "restore", nil, "Ids to take off the list again, separated by commas or repeated")
	f.StringVar(&r.next, "next-update", "7d", "How long from now the next list is due")
	f.Int64Var(&r.version, "version", 0, "Version of the list (default: one more than the previous one's, or 1)")
	f.BoolVar(&r.asJSON, "json", false, "Print the list, which is JSON anyway, on one line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := p.signRevocations(cmd, &r)
		if err != nil {
			return err
		}
		text, err := list.Encode()
		if err != nil {
			return err
		}
		return writeDocument(cmd, text, r.asJSON)
	}
	return cmd
}

func (p *program) signRevocations(cmd *cobra.Command, r *revoking) (*license.RevocationList, error) {
	wait, err := parseSpan("next-update", r.next)
	if err != nil {
		return nil, err
	}
	signer, err := p.signer(cmd, &r.signing)
	if err != nil {
		return nil, err
	}
	version, ids := int64(1), splitList(true, r.revoke)
	if cmd.Flags().Changed("previous") {
		before, err := p.previousRevocations(cmd, r, signer)
		if err != nil {
			return nil, err
		}
		version, ids = before.Payload.Version+1, append(ids, before.Payload.Revoked...)
		if cmd.Flags().Changed("version") && r.version < version {
			return nil, fmt.Errorf("version: is %d; want more than the previous list's, which is %d", r.version, before.Payload.Version)
		}
	}
	if cmd.Flags().Changed("version") {
		version = r.version
	}
	for _, id := range splitList(true, r.restore) {
		if !slices.Contains(ids, id) {
			return nil, fmt.Errorf("restore: %.80q is not on the list", id)
		}
		ids = slices.DeleteFunc(ids, func(other string) bool { return other == id })
	}
	return signer.SignRevocations(version, p.now().Add(wait).Truncate(time.Second), ids)
}

// previousRevocations reads the list to go on from, if it is one of the vendor's own.
func (p *program) previousRevocations(cmd *cobra.Command, r *revoking, signer *license.Signer) (*license.RevocationList, error) {
	data, err := readInput(cmd, r.previous, license.MaxRevocationsSize)
	if err != nil {
		return nil, err
	}
	before, err := license.DecodeRevocations(data)
	if err != nil {
		return nil, fmt.Errorf("%s is no list of revoked licenses: %s", inputName(r.previous), plain(err.Error()))
	}
	keys := []license.TrustedKey{{Key: signer.Public()}}
	for _, file := range r.trusted {
		more, err := trustedKeys(file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	set, err := license.NewKeySet(keys...)
	if err != nil {
		return nil, err
	}
	if err := set.VerifyRevocations(before); errors.Is(err, &license.Error{Reason: license.ReasonUnknownKey}) {
		return nil, fmt.Errorf("%s was signed by another key, %s: name its public key with --trusted-key", inputName(r.previous), before.KeyID)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %s", inputName(r.previous), plain(err.Error()))
	}
	return before, nil
}
