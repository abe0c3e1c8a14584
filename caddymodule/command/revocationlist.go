package command

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
)

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
		Short: "Signs a list of licenses that their vendor has revoked",
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
	f.StringArrayVar(&r.revoke, "revoke", nil, "Ids of licenses to revoke, separated by commas or repeated")
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
