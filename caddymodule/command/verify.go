package command

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/host"
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
	var host, instance string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify --trusted-key FILE [--host HOST] LICENSE",
		Short: "Verifies a license, offline",
		Long: `
Verifies a license as a server does that trusts the keys given: form, key, signature,
time, and the host if one is given. LICENSE is a file, or - for stdin. One that is bound
to a deployment is valid only with the fingerprint of that one in --instance.

Exits with 0 only if the license is valid, else with 1. With --json the result is printed
for an invalid one too, with the reason: "state" is the license's own, "host_covered" is
about the host, and "is_valid" is both.
`,
		Example: `  caddy gatehouse verify --trusted-key vendor.key.pub license.json
  caddy gatehouse verify --trusted-key old.pub --trusted-key new.pub --host gw.acme.example:443 license.json
  caddy gatehouse verify --trusted-key vendor.key.pub --json - < license.json`,
		Args: one(licenseArgument),
	}
	cmd.Flags().StringArrayVar(&keys, "trusted-key", nil, "PEM file of public keys to trust; repeatable (required)")
	cmd.Flags().StringVar(&host, "host", "", "Host that the license must cover, with or without a port")
	cmd.Flags().StringVar(&instance, "instance", "", "Fingerprint of the deployment that the license must be valid for")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	require(cmd, "trusted-key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("host") && host == "" {
			return errors.New("--host is empty; want a host, or leave it out")
		}
		verifier, err := p.verifier(keys, instance)
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

// verifier trusts the keys of all files. Its clock stands still, so that everything
// it says holds at the same moment.
func (p *program) verifier(files []string, instance string) (*license.Verifier, error) {
	var trusted []license.TrustedKey
	for _, file := range files {
		keys, err := trustedKeys(file)
		if err != nil {
			return nil, err
		}
		trusted = append(trusted, keys...)
	}
	set, err := license.NewKeySet(trusted...)
	if err != nil {
		return nil, err
	}
	now := p.now()
	return license.NewVerifier(license.Config{
		Keys: set, Now: func() time.Time { return now }, Instance: func() string { return instance },
	})
}

// judge gives the state of a license; the error is nil if it is valid.
func judge(cmd *cobra.Command, validity *license.Validity, host string) (verdict, error) {
	for _, refused := range validity.RefusedHosts() {
		note(cmd.ErrOrStderr(), "warning: a host pattern matches nothing: %v", refused)
	}
	result := verdict{Status: validity.Status(host)}
	err := validity.Err()
	if host != "" && validity.Genuine() {
		result.HostCovered = new(validity.Hosts().Match(host))
	}
	if err == nil && host != "" {
		err = validity.Check(host)
	}
	var reason *license.Error
	if errors.As(err, &reason) {
		result.Code = reason.Code()
		return result, fmt.Errorf("%s: %s", reason.Code(), plain(reason.Error()))
	}
	return result, err
}

func (p *program) inspect() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect LICENSE",
		Short: "Shows what a license says, without verifying it",
		Long: `
Shows what a license says, without checking its signature. Trust nothing of it before the
command verify accepts it. LICENSE is a file, or - for stdin.
`,
		Example: `  caddy gatehouse inspect license.json
  caddy gatehouse inspect --json - < license.json`,
		Args: one(licenseArgument),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		decoded, _, err := readLicense(cmd, args[0])
		if err != nil {
			return err
		}
		_, refused := host.Compile(decoded.Payload.AllowedHosts)
		for _, why := range refused {
			note(cmd.ErrOrStderr(), "warning: a host pattern matches nothing: %v", why)
		}
		note(cmd.ErrOrStderr(), "note: the signature was not checked; `caddy gatehouse verify` does that")
		if asJSON {
			return printJSON(cmd.OutOrStdout(), struct {
				Verified bool             `json:"verified"` // always false: no key was asked
				Version  int              `json:"version"`
				KeyID    string           `json:"key_id"`
				Payload  *license.Payload `json:"payload"`
			}{Version: decoded.Payload.Version(), KeyID: decoded.KeyID, Payload: &decoded.Payload})
		}
		t := p.licenseTable(decoded)
		return t.print(cmd.OutOrStdout())
	}
	return cmd
}

// readLicense reads a license from a file or stdin. An error does not repeat the text.
func readLicense(cmd *cobra.Command, name string) (*license.License, []byte, error) {
	data, err := readInput(cmd, name, license.MaxSize)
	if err != nil {
		return nil, nil, err
	}
	decoded, err := license.Decode(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is no license: %s", inputName(name), plain(err.Error()))
	}
	return decoded, data, nil
}

// licenseTable shows all that a license says.
func (p *program) licenseTable(l *license.License) table {
	s := &l.Payload
	t := table{}
	t.add("Version", fmt.Sprint(s.Version()))
	t.add("Type", string(s.Type))
	t.add("Description", s.Description)
	t.add("Hosts", strings.Join(s.AllowedHosts, ", "))
	t.add("Features", featureNames(s.Features))
	t.add("Issued", p.unixStamp(s.IssuedAt))
	if s.NotBefore != nil {
		t.add("Not before", p.stamp(time.Unix(*s.NotBefore, 0)))
	}
	t.add("Expires", p.unixStamp(s.ExpireAt))
	if s.Grace != nil {
		t.add("Grace", exactly(time.Duration(min(*s.Grace, maxShownGrace))*time.Second))
	}
	limits := make([]string, 0, len(s.Limits))
	for _, name := range slices.Sorted(maps.Keys(s.Limits)) {
		limit := fmt.Sprintf("%s=%d", name, s.Limits[name])
		if word := s.Enforcement[name]; word != "" {
			limit += " (" + string(word) + ")"
		}
		limits = append(limits, limit)
	}
	for _, optional := range [][2]string{
		{"ID", s.ID},
		{"Issuer", s.Issuer},
		{"Environment", s.Environment},
		{"Limits", strings.Join(limits, ", ")},
		{"Instance", s.Instance},
		{"Critical", strings.Join(s.Crit, ", ")},
	} {
		if optional[1] != "" {
			t.add(optional[0], optional[1])
		}
	}
	t.add("Key ID", l.KeyID)
	return t
}

// maxShownGrace is the longest grace that a duration holds, in seconds.
const maxShownGrace = int64((1<<63 - 1) / time.Second)

// statusTable shows the state of a license.
func (p *program) statusTable(s *license.Status) table {
	t := table{}
	t.add("State", string(s.State))
	if s.VerifyError != "" {
		t.add("Reason", s.VerifyError)
	}
	if s.KeyID == "" {
		return t
	}
	t.add("Type", string(s.Type))
	t.add("Description", s.Description)
	t.add("Hosts", strings.Join(s.AllowedHosts, ", "))
	t.add("Features", featureNames(s.Features))
	t.add("Issued", p.unixStamp(s.IssuedAt))
	t.add("Expires", p.unixStamp(s.ExpireAt))
	t.add("Days left", fmt.Sprint(s.DaysLeft))
	t.add("Key ID", s.KeyID)
	if s.VerifiedHost != "" {
		t.add("Covers", s.VerifiedHost)
	}
	return t
}

// featureNames lists a license's features; nil and ["*"] stand for all.
func featureNames(features []string) string {
	switch {
	case features == nil, len(features) == 1 && features[0] == license.EveryFeature:
		return "every one"
	case len(features) == 0:
		return "none"
	}
	return strings.Join(features, ", ")
}

// trustedKeys reads the public keys of a file.
func trustedKeys(file string) (trusted []license.TrustedKey, err error) {
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
	return trusted, nil
}
