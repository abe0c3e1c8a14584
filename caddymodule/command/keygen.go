package command

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

func (p *program) keygen() *cobra.Command {
	var kind, out, passphraseFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "keygen --out FILE",
		Short: "Makes a key to sign licenses with",
		Long: `
Makes a key to sign licenses with: the private key in FILE, readable by you alone,
and the public key, which deployments trust, in FILE.pub. It never overwrites a file.
With --passphrase-file, the private key is encrypted, as an age file.

Hoop's own tools read licenses of RSA keys only; use --type rsa if they must.
`,
		Example: `  caddy gatehouse keygen --out vendor.key
  caddy gatehouse keygen --out vendor.key --passphrase-file pass.txt
  caddy gatehouse keygen --type rsa --out /etc/gatehouse/vendor.key --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&kind, "type", string(keyfile.Ed25519), "Type of the key: ed25519, rsa or ecdsa")
	suggest(cmd, "type", string(keyfile.Ed25519), string(keyfile.RSA), string(keyfile.ECDSA))
	cmd.Flags().StringVarP(&out, "out", "o", "", "File for the private key (required)")
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "File of the passphrase to encrypt the private key with (default: it is not encrypted)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	require(cmd, "out")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		write := keyfile.Create
		if cmd.Flags().Changed("passphrase-file") {
			passphrase, err := readSecretFile(cmd, passphraseFile)
			if err != nil {
				return fmt.Errorf("reading the passphrase: %w", err)
			}
			write = func(path string, key crypto.Signer) error { return keyfile.CreateEncrypted(path, key, passphrase) }
		}
		id, err := makeKey(keyfile.Kind(kind), out, write)
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

// makeKey makes a key, has its files written, and returns its id.
func makeKey(kind keyfile.Kind, path string, write func(string, crypto.Signer) error) (string, error) {
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
	if err := write(path, key); errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%w; a key is never overwritten, name another file", err)
	} else if err != nil {
		return "", err
	}
	return id, nil
}
