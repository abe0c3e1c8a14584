package command

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// licenseArgument is what commands about a license take.
const licenseArgument = "LICENSE, a file or - for stdin"

// maxKeys bounds a file of public keys, in bytes.
const maxKeys = 1 << 20

// verdict is the result of verify.
type verdict struct {
	license.Status
	// HostCovered is about --host, whatever the license's own state; nil without.
	HostCovered *bool  `json:"host_covered,omitempty"`
	Code        string `json:"code,omitempty"` // as requests are refused; empty when valid
}

func (p *program) verify() *cobra.Command {
	var keys []string
	var host string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify --trusted-key FILE [--host HOST] LICENSE",
		Short: "Verifies a license, offline",
		Long: `
Verifies a license as a server does that trusts the keys given: form, key, signature,
time, and the host if one is given. LICENSE is a file, or - for stdin.

Exits with 0 only if the license is valid. With --json the result is printed for an
invalid one too, with the reason: "state" is the license's own, "host_covered" is about
the host, and "is_valid" is both.
`,
		Example: `  caddy gatehouse verify --trusted-key vendor.key.pub license.json
  caddy gatehouse verify --trusted-key old.pub --trusted-key new.pub --host gw.acme.example:443 license.json
  caddy gatehouse verify --trusted-key vendor.key.pub --json - < license.json`,
		Args: one(licenseArgument),
	}
	cmd.Flags().StringArrayVar(&keys, "trusted-key", nil, "PEM file of public keys to trust; repeatable (required)")
	cmd.Flags().StringVar(&host, "host", "", "Host that the license must cover, with or without a port")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	require(cmd, "trusted-key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("host") && host == "" {
			return errors.New("--host is empty; want a host, or leave it out")
		}
		verifier, err := p.verifier(keys)
		if err != nil {
			return err
		}
		data, err := readInput(cmd, args[0], license.MaxSize)
		if err != nil {
			return err
		}
		result, reason := judge(cmd, verifier.Open(data), host)
		switch {
		case asJSON:
			err = printJSON(cmd.OutOrStdout(), result)
		case reason == nil:
			t := p.statusTable(&result.Status)
			err = t.print(cmd.OutOrStdout())
		}
		return errors.Join(reason, err)
	}
	return cmd
}

// verifier trusts the keys of all files. Its clock stands still, so that all it
// says is about one moment.
func (p *program) verifier(files []string) (*license.Verifier, error) {
	var trusted []license.TrustedKey
	for _, file := range files {
		data, err := readFile(file, maxKeys)
		if err != nil {
			return nil, fmt.Errorf("reading a trusted key: %w", err)
		}
		keys, err := license.ParsePublicKeys(data)
		if err != nil {
			return nil, fmt.Errorf("reading the trusted key %s: %w", file, err)
		}
		for _, key := range keys {
			trusted = append(trusted, license.TrustedKey{Key: key})
		}
	}
	set, err := license.NewKeySet(trusted...)
	if err != nil {
		return nil, err
	}
	now := p.now()
	return license.NewVerifier(license.Config{Keys: set, Now: func() time.Time { return now }})
}

// judge says how a license stands; the error is nil if it is valid.
func judge(cmd *cobra.Command, standing *license.Standing, host string) (verdict, error) {
	for _, refused := range standing.RefusedHosts() {
		note(cmd.ErrOrStderr(), "warning: a host pattern matches nothing: %v", refused)
	}
	result := verdict{Status: standing.Status(host)}
	err := standing.Err()
	if host != "" && standing.Genuine() {
		result.HostCovered = new(standing.Hosts().Match(host))
	}
	if err == nil && host != "" {
		err = standing.Check(host)
	}
	var reason *license.Error
	if errors.As(err, &reason) {
		result.Code = reason.Code()
		return result, fmt.Errorf("%s: %s", reason.Code(), plain(reason.Error()))
	}
	return result, err
}
