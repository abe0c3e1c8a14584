package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// newAccount is the body of a request that creates an account.
type newAccount struct {
	Subject   string         `json:"subject"`
	Name      string         `json:"name,omitempty"`
	Status    account.Status `json:"status"`
	Groups    []string       `json:"groups,omitempty"`
	Issuer    string         `json:"issuer,omitempty"`
	By        string         `json:"by,omitempty"`
	ExpiresAt string         `json:"expires_at,omitempty"`
}

func (p *program) accountCreate(c *connection) *cobra.Command {
	var expires string
	var groups []string
	var inactive, asJSON bool
	var made newAccount
	cmd := &cobra.Command{
		Use:   "create SUBJECT",
		Short: "Registers a machine",
		Long: `
Registers a machine by the subject (sub) or the client id of its tokens. Where it matters,
--by says which of the two SUBJECT is: a caller who is not known to be a machine is found
by accounts with --by subject only.
`,
		Example: `  caddy gatehouse service-account create ci-deploy --name 'CI deploys' --groups deployers,readers
  caddy gatehouse service-account create system:serviceaccount:prod:api --issuer cluster --expires-at 90d
  caddy gatehouse service-account create repo:acme/shop:ref:refs/heads/main --issuer github --expires-at 2027-01-31 --inactive --json`,
		Args: one("SUBJECT, that of the machine's tokens"),
	}
	f := cmd.Flags()
	f.StringVar(&made.Name, "name", "", "Name for people")
	f.StringVar(&made.Issuer, "issuer", "", "Configured name of the issuer of its tokens (default: the only one)")
	f.StringVar(&made.By, "by", "", "What SUBJECT is: subject (of any caller), client or either (of machines only; default)")
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	suggest(cmd, "by", string(account.BySubject), string(account.ByClient), string(account.ByEither))
	f.StringArrayVar(&groups, "groups", nil, "Groups it is given, separated by commas or repeated")
	f.StringVar(&expires, "expires-at", "", "When it expires: a time, a day, or a duration from now (default: never)")
	f.SetNormalizeFunc(synonym("expire-at", "expires-at"))
	f.BoolVar(&inactive, "inactive", false, "Make it disabled")
	f.BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		made.Subject, made.Status = args[0], account.StatusActive
		made.Groups = splitList(true, groups)
		if inactive {
			made.Status = account.StatusInactive
		}
		if cmd.Flags().Changed("expires-at") {
			var err error
			if made.ExpiresAt, err = p.parseExpiry(expires); err != nil {
				return err
			}
		}
		body, err := json.Marshal(made)
		if err != nil {
			return fmt.Errorf("making the request: %w", err)
		}
		// Checked as the server will, as far as that can be done here.
		if _, err := account.Decode(body); err != nil {
			return err
		}
		text, err := s.fetch(ctx, request{method: http.MethodPost, path: accountsPath, body: body})
		if err != nil {
			return err
		}
		return p.printAccount(cmd, s, text, asJSON)
	})
	return cmd
}

// never is what --expires-at takes for no expiry.
const never = "never"

// parseExpiry reads when an account expires, for the API; empty: never.
func (p *program) parseExpiry(text string) (string, error) {
	if text == never {
		return "", nil
	}
	at, err := p.parseMoment("expires_at", text)
	if err != nil {
		return "", err
	}
	return at.Format(time.RFC3339), nil
}

// setting is what the command set changes of an account.
type setting struct {
	ref                  accountRef
	name, expires, by    string
	groups, add, removed []string
}

func (p *program) accountSet(c *connection) *cobra.Command {
	var set setting
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "set SUBJECT",
		Short: "Changes name, groups or expiry of a service account",
		Long: `
Changes the service account with that subject or id. Whatever no flag names stays as it
is, even if somebody else changes it at the same time.
`,
		Example: `  caddy gatehouse service-account set ci-deploy --add-group readers --remove-group deployers
  caddy gatehouse service-account set ci-deploy --name 'CI deploys' --expires-at 90d
  caddy gatehouse service-account set system:serviceaccount:prod:api --issuer cluster --groups '' --expires-at never --json`,
	}
	f := cmd.Flags()
	p.about(&set.ref, cmd, c)
	f.StringVar(&set.name, "name", "", "Name for people")
	f.StringArrayVar(&set.groups, "groups", nil, "All groups it is given, separated by commas or repeated; '' for none")
	f.StringArrayVar(&set.add, "add-group", nil, "A group it is given besides (repeatable)")
	f.StringArrayVar(&set.removed, "remove-group", nil, "A group it loses (repeatable)")
	f.StringVar(&set.expires, "expires-at", "", "When it expires: a time, a day, a duration from now, or never")
	f.StringVar(&set.by, "by", "", "What SUBJECT is: subject (of any caller), client or either (of machines only)")
	suggest(cmd, "by", string(account.BySubject), string(account.ByClient), string(account.ByEither))
	f.SetNormalizeFunc(synonym("expire-at", "expires-at"))
	f.BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.MarkFlagsMutuallyExclusive("groups", "add-group")
	cmd.MarkFlagsMutuallyExclusive("groups", "remove-group")
	cmd.MarkFlagsOneRequired("name", "groups", "add-group", "remove-group", "expires-at", "by")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		set.ref.key = args[0]
		edit, err := p.editOf(cmd, &set)
		if err != nil {
			return err
		}
		text, err := s.change(ctx, set.ref, edit)
		if err != nil {
			return err
		}
		return p.printAccount(cmd, s, text, asJSON)
	})
	return cmd
}

// editOf makes the function that applies the given flags to an account.
func (p *program) editOf(cmd *cobra.Command, set *setting) (func(*accountInfo) (map[string]any, error), error) {
	given := cmd.Flags().Changed
	fixed := map[string]any{}
	if given("name") {
		fixed["name"] = set.name
	}
	if given("by") {
		fixed["by"] = set.by
	}
	if given("groups") {
		fixed["groups"] = splitList(true, set.groups)
	}
	if given("expires-at") {
		at, err := p.parseExpiry(set.expires)
		if err != nil {
			return nil, err
		}
		if fixed["expires_at"] = at; at == "" {
			fixed["expires_at"] = nil
		}
	}
	return func(now *accountInfo) (map[string]any, error) {
		if given("add-group") || given("remove-group") {
			groups, err := regroup(now.Groups, set.add, set.removed)
			if err != nil {
				return nil, err
			}
			fixed["groups"] = groups
		}
		return fixed, nil
	}, nil
}

// regroup adds groups and removes others. One to remove must be there: else a typo
// would leave the account in its group unnoticed.
func regroup(groups, add, removed []string) ([]string, error) {
	next := slices.Clone(groups)
	for _, g := range removed {
		if !slices.Contains(groups, g) || slices.Contains(add, g) {
			return nil, fmt.Errorf("--remove-group: %.80q is none of its groups to remove; it has %.400q", g, groups)
		}
		next = slices.DeleteFunc(next, func(have string) bool { return have == g })
	}
	for _, g := range add {
		if !slices.Contains(next, g) {
			next = append(next, g)
		}
	}
	return next, nil
}

// maxTries bounds how often a change is retried because the account was changed
// meanwhile.
const maxTries = 5

// change reads an account, changes what edit says, and leaves all else as it is. It
// starts again if somebody changes the account in between, and sends nothing if
// nothing changes.
func (s *server) change(ctx context.Context, ref accountRef, edit func(*accountInfo) (map[string]any, error)) ([]byte, error) {
	get, err := ref.request(http.MethodGet)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		var tag string
		var now accountInfo
		get.tag = &tag
		text, err := s.get(ctx, get, &now)
		if err != nil {
			return nil, err
		}
		changed, err := edit(&now)
		if err != nil {
			return nil, err
		}
		body, err := s.edited(text, changed)
		if err != nil || body == nil {
			return text, err
		}
		put := get
		put.method, put.body, put.match, put.tag = http.MethodPut, body, tag, nil
		text, err = s.fetch(ctx, put)
		if !isStatus(err, http.StatusPreconditionFailed) {
			return text, err
		}
		if try == maxTries {
			return nil, fmt.Errorf("the account was changed by somebody else each of %d times: %w", maxTries, err)
		}
	}
}

// edited is an account's JSON with some members changed and all others kept, unknown
// ones included; nil if nothing changes.
func (s *server) edited(text []byte, changed map[string]any) ([]byte, error) {
	all := map[string]json.RawMessage{}
	if err := s.read(text, &all); err != nil {
		return nil, err
	}
	if len(all["subject"]) == 0 {
		return nil, errors.New("the answer of " + s.name + " holds no subject; is it Caddy's admin endpoint?")
	}
	same := true
	for name, value := range changed {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		there := all[name]
		if there == nil {
			there = []byte("null")
		}
		same = same && bytes.Equal(there, raw)
		all[name] = raw
	}
	if same {
		return nil, nil
	}
	return json.Marshal(all)
}

func (p *program) accountEnable(c *connection) *cobra.Command {
	cmd := p.accountSwitch(c, "enable", account.StatusActive)
	cmd.Short = "Lets a machine in again"
	cmd.Long = "\nMakes the service account with that subject or id active: its tokens are accepted again.\n"
	return cmd
}

func (p *program) accountDisable(c *connection) *cobra.Command {
	cmd := p.accountSwitch(c, "disable", account.StatusInactive)
	cmd.Short = "Keeps a machine out, from its next request on"
	cmd.Long = `
Makes the service account with that subject or id inactive: its next request is refused
and its open streams are closed, on every node.
`
	return cmd
}

// accountSwitch is what enable and disable have in common.
func (p *program) accountSwitch(c *connection, name string, status account.Status) *cobra.Command {
	var asJSON bool
	var ref accountRef
	cmd := &cobra.Command{
		Use: name + " SUBJECT",
		Example: "  caddy gatehouse service-account " + name + " ci-deploy\n" +
			"  caddy gatehouse service-account " + name + " --json repo:acme/shop:ref:refs/heads/main",
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	p.about(&ref, cmd, c)
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		ref.key = args[0]
		text, err := s.setStatus(ctx, cmd, ref, status)
		if err != nil {
			return err
		}
		return p.printAccount(cmd, s, text, asJSON)
	})
	return cmd
}

// setStatus changes the status of an account, and notes if it is that already.
func (s *server) setStatus(ctx context.Context, cmd *cobra.Command, ref accountRef, status account.Status) ([]byte, error) {
	was := status
	text, err := s.change(ctx, ref, func(now *accountInfo) (map[string]any, error) {
		was = now.Status
		return map[string]any{"status": status}, nil
	})
	if err != nil {
		return nil, err
	}
	var after accountInfo
	if err := s.read(text, &after); err != nil {
		return nil, err
	}
	if after.Status != status {
		return nil, fmt.Errorf("%s answered that %s is %.20q; want %s", s.name, plain(ref.key), after.Status, status)
	}
	if was == status {
		note(cmd.ErrOrStderr(), "note: %s is %s already", after.Subject, status)
	}
	return text, nil
}
