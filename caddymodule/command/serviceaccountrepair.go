package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

func (p *program) accountRepair(c *connection) *cobra.Command {
	var keep string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "repair [--keep node|storage]",
		Short: "Compares storage with what the server knows, and keeps one of them",
		Long: `
Compares the service accounts in storage with those that the server knows, and changes
nothing. They differ if storage was emptied, was replaced by another one, or has damaged
records. Until somebody decides, each node continues with what it knows, and answers
changes with 503.

With --keep node, what the asked server knows is written to storage. With --keep storage,
what storage holds is taken over, even if that is nothing. All nodes follow either way.
`,
		Example: `  caddy gatehouse service-account repair
  caddy gatehouse service-account repair --keep node
  caddy gatehouse service-account repair --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&keep, "keep", "", "What to keep: node (what the server knows) or storage; left out, nothing is changed")
	suggest(cmd, "keep", string(registry.KeepNode), string(registry.KeepStorage))
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		if cmd.Flags().Changed("keep") {
			return repairAccounts(ctx, cmd.OutOrStdout(), s, keep, asJSON)
		}
		var found api.Comparison[accountInfo]
		text, err := s.get(ctx, request{method: http.MethodGet, path: accountsPath + ":repair", wait: importWait}, &found)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(text))
		}
		return p.printComparison(cmd.OutOrStdout(), &found)
	})
	return cmd
}

func repairAccounts(ctx context.Context, w io.Writer, s *server, keep string, asJSON bool) error {
	if keep != string(registry.KeepNode) && keep != string(registry.KeepStorage) {
		return fmt.Errorf("--keep is %q; want node or storage", keep)
	}
	body, err := json.Marshal(map[string]string{"keep": keep})
	if err != nil {
		return err
	}
	var done struct {
		Kept   string   `json:"kept"`
		Mended []string `json:"mended"`
	}
	text, err := s.get(ctx, request{method: http.MethodPost, path: accountsPath + ":repair", body: body, wait: importWait}, &done)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, json.RawMessage(text))
	}
	t := table{}
	t.add("Kept", done.Kept)
	t.add("Written again", count(len(done.Mended), "record"))
	return t.print(w)
}

func (p *program) printComparison(w io.Writer, c *api.Comparison[accountInfo]) error {
	t := table{}
	t.add("Storage is", storageWords(c.StorageState))
	t.add("The server knows", sideWords(c.Node))
	t.add("Storage holds", sideWords(c.Storage))
	t.add("Only the server", count(c.OnlyNode, "account"))
	t.add("Only storage", count(c.OnlyStorage, "account"))
	t.add("Different", count(c.Different, "account"))
	if len(c.Damaged) > 0 {
		t.add("Damaged or gone", count(len(c.Damaged), "record")+": "+strings.Join(c.Damaged, ", "))
	}
	if len(c.Differences) == 0 {
		return t.print(w)
	}
	now := p.now()
	list := table{header: []string{"ISSUER", "SUBJECT", "SERVER", "STORAGE"}}
	for _, d := range c.Differences {
		states := [2]string{"none", "none"}
		for i, a := range []*accountInfo{d.Node, d.Storage} {
			if a != nil {
				states[i] = a.state(now)
			}
		}
		list.add(d.Issuer, d.Subject, states[0], states[1])
	}
	return printTables(w, t, list)
}

func sideWords(s *api.Side) string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("%d active, %d inactive, %d expired, as of revision %d (%s)", s.Active, s.Inactive, s.Expired, s.Revision, s.ID)
}

// storageWords describes the state of storage.
func storageWords(s registry.StorageState) string {
	switch s {
	case registry.Ready:
		return "well"
	case registry.Emptied:
		return "emptied: it answers, and holds no service accounts any more; see service-account repair"
	case registry.Diverged:
		return "another: it holds service accounts that were begun without those that the server knows; see service-account repair"
	case registry.Unread:
		return "not read yet"
	}
	return "out of reach: no account can be changed, and changes made elsewhere are not seen"
}

func (p *program) accountConfirm(c *connection) *cobra.Command {
	var issuer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "confirm --issuer NAME [SUBJECT]",
		Short: "Accepts the issuer that has the name now",
		Long: `
An account remembers which issuer its issuer's name stood for when it was created. If the
name stands for another issuer now, the account lets nobody in. This command accepts the
issuer that has the name now, for all accounts of that name or for one: for example after
an issuer has moved to another URL.
`,
		Example: `  caddy gatehouse service-account confirm --issuer acme
  caddy gatehouse service-account confirm --issuer acme ci-deploy --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] == "" {
				return errors.New("want one SUBJECT, of an account or its id, or none for all of the issuer")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&issuer, "issuer", "", "Configured name of the issuer (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	require(cmd, "issuer")
	cmd.ValidArgsFunction = firstOnly(p.suggesting(c, suggestSubjects(&issuer)))
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		asked := map[string]string{"issuer": issuer}
		if len(args) == 1 {
			asked["subject"] = args[0]
		}
		body, err := json.Marshal(asked)
		if err != nil {
			return err
		}
		var done struct {
			Confirmed int `json:"confirmed"`
		}
		a := request{method: http.MethodPost, path: accountsPath + ":confirm", body: body, wait: importWait}
		text, err := s.get(ctx, a, &done)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(text))
		}
		t := table{}
		t.add("Confirmed", count(done.Confirmed, "account"))
		return t.print(cmd.OutOrStdout())
	})
	return cmd
}
