package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
)

func (p *program) status() *cobra.Command {
	var c connection
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Shows license, issuers and accounts of a running server",
		Long: `
Shows the state of a running server on one screen: its license, whether its build is
sealed, the fingerprint of the deployment, its issuers, their keys and how they answer
introspection requests, its service accounts and when storage last confirmed them, and how
many requests were refused lately, by reason.

A deployment that asks for a license and has no fingerprint yet gets one, so that its
vendor can sign a license for it.

Exits with 0 if the server answers and reaches its storage, with 1 if not.

It needs a token of the admin group.
`,
		Example: `  caddy gatehouse status
  caddy gatehouse status --address unix//run/caddy-admin.sock
  caddy gatehouse status --config /etc/caddy/Caddyfile --token-file admin.token --json`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		status, text, err := s.status(ctx)
		if err != nil {
			return err
		}
		if status.Accounts == nil {
			return errors.New("the answer of " + s.name + " holds no accounts; is it Caddy's admin endpoint?")
		}
		var away error
		if status.Accounts.StorageAway {
			away = errors.New(storageFault(status.Accounts.Storage, s.name) + "; the service accounts last known are in force")
		}
		if asJSON {
			return errors.Join(away, printJSON(cmd.OutOrStdout(), json.RawMessage(text)))
		}
		return errors.Join(away, p.printStatus(cmd.OutOrStdout(), s.name, status))
	})
	return cmd
}

// status asks for the state of the server. A deployment without a fingerprint gets one
// first: its vendor may need it before there is any license.
func (s *server) status(ctx context.Context) (*api.Status, []byte, error) {
	ask := func() (*api.Status, []byte, error) {
		var status api.Status
		text, err := s.get(ctx, request{method: http.MethodGet, path: "/api/status"}, &status)
		return &status, text, err
	}
	status, text, err := ask()
	if err != nil || status.License == nil || status.License.Instance != "" || status.Accounts == nil || status.Accounts.StorageAway {
		return status, text, err
	}
	if _, err := s.fetch(ctx, request{method: http.MethodPost, path: "/api/orgs/license/instance"}); err != nil {
		return status, text, nil // an older server, or storage is out of reach: the rest is known all the same
	}
	return ask()
}

func (p *program) printStatus(w io.Writer, place string, s *api.Status) error {
	title := "Gatehouse " + cmp.Or(s.Version, "of unknown version") + " at " + place
	if _, err := fmt.Fprintln(w, plain(title)); err != nil {
		return err
	}
	type part struct {
		title string
		table table
	}
	parts := []part{
		{"LICENSE", p.licenseRows(s)},
		{"ISSUERS", p.issuerTable(s.Issuers)},
		{"SERVICE ACCOUNTS", p.accountRows(s)},
		{"REFUSALS OF THE LAST HOUR", refusalRows(s.Refusals)},
	}
	if s.Revocations != nil { // older servers have none
		parts = slices.Insert(parts, 3, part{"REVOCATIONS", revocationRows(s)})
	}
	if s.Seats != nil {
		parts = slices.Insert(parts, 3, part{"SEATS", seatRows(s)})
	}
	if asked := p.introspectionTable(s.Issuers); len(asked.rows) > 0 {
		parts = slices.Insert(parts, 2, part{"QUESTIONS ABOUT TOKENS", asked})
	}
	if unclear := unclearCallers(s.Issuers); len(unclear.rows) > 0 {
		parts = slices.Insert(parts, 2, part{"CALLERS OF UNKNOWN KIND", unclear})
	}
	if s.DPoP != nil {
		parts = slices.Insert(parts, len(parts)-1, part{"DPOP PROOFS", proofRows(s.DPoP)})
	}
	for _, part := range parts {
		if _, err := fmt.Fprintln(w, "\n"+part.title); err != nil {
			return err
		}
		if err := part.table.print(w); err != nil {
			return err
		}
	}
	return nil
}

func proofRows(s *api.ProofState) table {
	t := table{}
	t.add("Nonce", s.Nonce)
	if s.OtherNodes > 0 {
		t.add("Other nodes", fmt.Sprintf("%d: without nonces, a proof that is intercepted can be used once at each; write dpop { nonce node }", s.OtherNodes))
	}
	t.add("Remembered", fmt.Sprintf("%d of %d", s.Remembered, s.ReplayMemory))
	return t
}

func (p *program) licenseRows(s *api.Status) table {
	if s.License == nil {
		return table{rows: [][]string{{"State", "no license is asked for"}}}
	}
	t := p.statusTable(&s.License.Status)
	if s.License.Source != "" {
		t.add("Source", s.License.Source)
	}
	if s.License.SourceError != "" {
		t.add("Source fault", s.License.SourceError+"; the license above stays in force, but not after a restart")
	}
	if s.License.ClockSuspect {
		t.add("Clock", "suspect: more than a day behind a time that was seen before; licenses and tokens are judged by it")
	}
	for _, name := range slices.Sorted(maps.Keys(s.License.Usage)) {
		share := s.License.Usage[name]
		if share.Limit >= 0 {
			t.add("Limit", fmt.Sprintf("%d of %d %s%s", share.Used, share.Limit, name, overWords(share)))
		}
	}
	if list := s.License.Revocations; list != nil {
		t.add("Revocation list", p.listWords(list))
	}
	if renewal := s.License.Renewal; renewal != nil {
		t.add("Renewal", p.renewalWords(renewal))
	}
	if s.License.Instance != "" {
		t.add("Deployment", s.License.Instance)
	}
	sealed := "no"
	if s.License.Sealed {
		sealed = "yes"
	}
	t.add("Sealed build", sealed)
	return t
}

func overWords(s usage.Share) string {
	switch {
	case s.Used <= s.Limit:
		return ""
	case s.Enforcement == license.Deny:
		return ": over the limit; new ones are refused"
	}
	return ": over the limit"
}

func (p *program) listWords(s *active.RevocationStatus) string {
	words := "none was ever had"
	if s.Version > 0 {
		words = fmt.Sprintf("version %d with %s, the next due %s", s.Version, count(s.Revoked, "license"), p.unixStamp(s.NextUpdate))
		if s.Late {
			words = "late: " + words
		}
	}
	if s.Error != "" {
		words += "; " + s.Error
	}
	return words
}

func (p *program) renewalWords(s *active.RenewalStatus) string {
	words := "due when there is a license with an id"
	if s.Next > 0 {
		words = "due " + p.unixStamp(s.Next)
	}
	if s.Error != "" {
		words += fmt.Sprintf("; %d in a row came to nothing: %s", s.Failures, s.Error)
	}
	return words
}

// refusalRows counts refusals by reason, the most frequent first.
func refusalRows(counts map[string]int) table {
	reasons := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	t := table{}
	for _, reason := range reasons {
		t.add(reason, fmt.Sprint(counts[reason]))
	}
	if len(reasons) == 0 {
		t.add("none")
	}
	return t
}

func (p *program) accountRows(s *api.Status) table {
	t := table{}
	if !s.Accounts.Loaded {
		t.add("Loaded", "no: storage was never read")
	}
	var storage []string
	if s.Storage != "" { // older servers do not say
		storage = append(storage, s.Storage)
	}
	if s.Accounts.StorageAway {
		storage = append(storage, storageWords(s.Accounts.Storage))
	}
	if len(storage) > 0 {
		t.add("Storage", strings.Join(storage, ": "))
	}
	t.add("Active", fmt.Sprint(s.Accounts.Active))
	t.add("Inactive", fmt.Sprint(s.Accounts.Inactive))
	t.add("Expired", fmt.Sprint(s.Accounts.Expired))
	if n := s.Accounts.Unconfirmed; n > 0 {
		t.add("Unconfirmed", fmt.Sprintf("%d, for another issuer of that name: they let nobody in; see service-account confirm", n))
	}
	t.add("Last sync", cmp.Or(p.stamp(s.Accounts.SyncedAt.Time), "never"))
	return t
}

// revocationRows counts what is revoked.
func revocationRows(s *api.Status) table {
	t := table{}
	if !s.Revocations.Loaded {
		t.add("Loaded", "no: every token gets 503 until they are read from storage")
	}
	t.add("In force", fmt.Sprint(s.Revocations.Count))
	return t
}

// seatRows are the instances that have a license in exchange for a login.
func seatRows(s *api.Status) table {
	t := table{}
	if s.Seats.Storage != registry.Ready {
		t.add("Storage", string(s.Seats.Storage)+": no license is handed out or renewed")
	}
	for _, one := range s.Seats.Taken {
		text := fmt.Sprint(one.Taken)
		if one.Seats > 0 {
			text += fmt.Sprint(" of ", one.Seats)
		}
		t.add(one.Account+", "+one.Product, text)
	}
	if len(t.rows) == 0 {
		t.add("none")
	}
	return t
}

// storageFault says briefly what is wrong.
func storageFault(s registry.StorageState, place string) string {
	switch s {
	case registry.Emptied:
		return "storage of " + place + " was emptied"
	case registry.Diverged:
		return "storage of " + place + " holds other service accounts than it knows"
	}
	return "storage is out of reach of " + place
}
