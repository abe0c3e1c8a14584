package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// madeKey is the result of keygen.
type madeKey struct {
	Type    keyfile.Kind `json:"type"`
	KeyID   string       `json:"key_id"`
	Private string       `json:"private_key"`
	Public  string       `json:"public_key"`
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
	cmd.Flags().StringVarP(&out, "out", "o", "", "File for the private key (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	require(cmd, "out")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		made, err := makeKey(keyfile.Kind(kind), out)
		if err != nil {
			return err
		}
		if made.Type != keyfile.RSA {
			note(cmd.ErrOrStderr(), "note: hoop's own tools read RSA only; if they must read your licenses, make a key with --type rsa")
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), made)
		}
		return made.print(cmd.OutOrStdout())
	}
	return cmd
}

func makeKey(kind keyfile.Kind, path string) (*madeKey, error) {
	if path == "" {
		return nil, errors.New("--out is empty; want the file for the private key")
	}
	if kind == "" {
		return nil, fmt.Errorf("--type is empty; want %s, %s or %s", keyfile.Ed25519, keyfile.RSA, keyfile.ECDSA)
	}
	key, err := keyfile.Generate(kind)
	if err != nil {
		return nil, err
	}
	id, err := license.KeyID(key.Public())
	if err != nil {
		return nil, err
	}
	err = keyfile.Create(path, key)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w; a key is never overwritten, name another file", err)
	}
	if err != nil {
		return nil, err
	}
	return &madeKey{Type: kind, KeyID: id, Private: path, Public: path + ".pub"}, nil
}

func (k *madeKey) print(w io.Writer) error {
	t := table{}
	t.add("Type", string(k.Type))
	t.add("Key ID", k.KeyID)
	t.add("Private key", k.Private+" (keep it secret)")
	t.add("Public key", k.Public+" (for trusted_key)")
	return t.print(w)
}

// require makes flags required. The names are the command's own.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
}
