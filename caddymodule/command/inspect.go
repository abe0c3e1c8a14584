package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// inspection is the result of inspect.
type inspection struct {
	Verified bool   `json:"verified"` // always false: nobody asked a key
	Version  int    `json:"version"`
	KeyID    string `json:"key_id"`

	Payload *license.Payload `json:"payload"`
}

func (p *program) inspect() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect LICENSE",
		Short: "Shows what a license says, without verifying it",
		Long: `
Shows what a license says. Nothing of it is to be believed before it was verified, for
which see the command verify. LICENSE is a file, or - for stdin.
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
			return printJSON(cmd.OutOrStdout(), inspection{
				Version: decoded.Payload.Version(), KeyID: decoded.KeyID, Payload: &decoded.Payload,
			})
		}
		t := p.licenseTable(decoded)
		return t.print(cmd.OutOrStdout())
	}
	return cmd
}

// readLicense reads a license from a file or stdin. What is none is not shown.
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
	for _, optional := range [][2]string{
		{"ID", s.ID},
		{"Issuer", s.Issuer},
		{"Environment", s.Environment},
		{"Limits", limitNames(s.Limits)},
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

func limitNames(limits map[string]int64) string {
	shown := make([]string, 0, len(limits))
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		shown = append(shown, fmt.Sprintf("%s=%d", name, limits[name]))
	}
	return strings.Join(shown, ", ")
}
