package command

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
)

// license is the group of commands about the license that a deployment has, and about
// those that a vendor takes back.
func (p *program) license() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "license",
		Short: "Gets and gives back licenses, and shows what they are used for",
		Long: `
Gets a license from its vendor by a login (activate), gives it back (deactivate), shows how
much of it is used (usage), and signs a vendor's list of licenses that it has taken back
(revocations).
`,
		Example: `  caddy gatehouse license activate --server https://license.vendor.example --product my-product --account acme
  caddy gatehouse license usage`,
	}
	group(cmd)
	cmd.AddCommand(p.activate(), p.deactivate(), p.usage(), p.revocations())
	return cmd
}

func (p *program) usage() *cobra.Command {
	var c connection
	var export, asJSON bool
	var verify, instance string
	cmd := &cobra.Command{
		Use:   "usage [--export]",
		Short: "Shows how much of a license's limits is used",
		Long: `
Asks a running server how much is used of the limits of its license that are counted: the
people who were let in within 30 days (users), and the service accounts.

With --export it prints a report that the deployment has signed, for the vendor, without a
network. It holds numbers, and nothing of people. The vendor checks one with --verify, which
asks no server; with --instance it must come from that deployment.

It needs a token of the admin group.
`,
		Example: `  caddy gatehouse license usage
  caddy gatehouse license usage --export > usage.json
  caddy gatehouse license usage --verify usage.json --json`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	cmd.Flags().BoolVar(&export, "export", false, "Print the signed report")
	cmd.Flags().StringVar(&verify, "verify", "", "Check a report instead: a file, or - for stdin")
	cmd.Flags().StringVar(&instance, "instance", "", "Fingerprint of the deployment that the report must come from (with --verify)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.MarkFlagsMutuallyExclusive("export", "verify")
	asked := p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		report, err := s.usage(ctx)
		if err != nil {
			return err
		}
		if export {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(report))
		}
		return p.printUsage(cmd, report, "", asJSON)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("verify") {
			return asked(cmd, args)
		}
		report, err := readInput(cmd, verify, usage.MaxReport)
		if err != nil {
			return err
		}
		return p.printUsage(cmd, report, instance, asJSON)
	}
	return cmd
}

// usage is the server's signed report.
func (s *server) usage(ctx context.Context) ([]byte, error) {
	return s.fetch(ctx, request{method: http.MethodGet, path: "/api/orgs/license/usage"})
}

// printUsage shows a report if the deployment that it names signed it.
func (p *program) printUsage(cmd *cobra.Command, report []byte, instance string, asJSON bool) error {
	u, err := usage.Open(report)
	if err != nil {
		return fmt.Errorf("the report of usage: %w", err)
	}
	if instance != "" && instance != u.Instance {
		return fmt.Errorf("the report is of the deployment %s; want %s", plain(u.Instance), plain(instance))
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), u)
	}
	about := table{}
	about.add("Deployment", u.Instance)
	about.add("License", u.LicenseID)
	about.add("Counted", p.unixStamp(u.At))
	limits := table{header: []string{"LIMIT", "USED", "OF", "BEYOND IT"}}
	for _, name := range slices.Sorted(maps.Keys(u.Limits)) {
		share := u.Limits[name]
		most, beyond := "any number", ""
		if share.Limit >= 0 {
			most, beyond = fmt.Sprint(share.Limit), "reported"
			if share.Enforcement == license.Deny {
				beyond = "refused"
			}
		}
		limits.add(name, fmt.Sprint(share.Used), most, beyond)
	}
	return printTables(cmd.OutOrStdout(), about, limits)
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
	if err := set.VerifyRevocations(before); err != nil {
		return nil, fmt.Errorf("%s: %s", inputName(r.previous), plain(err.Error()))
	}
	return before, nil
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
