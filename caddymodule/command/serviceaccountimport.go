package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

const (
	// importWait is how long the answer to one chunk may take.
	importWait = 10 * time.Minute
	// maxResult bounds a line of the answer, in bytes.
	maxResult = 64 << 10
)

// importer sends accounts and reports the result of each.
type importer struct {
	server *server
	mode   string
	asJSON bool
	out    *bufio.Writer
	bar    *progress
	counts map[string]int
}

func (p *program) accountImport(c *connection) *cobra.Command {
	var mode string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Registers the machines in a file of JSON lines",
		Long: `
Registers the machines in a file of JSON lines: one account a line, as the command export
prints them. FILE may be - for stdin. The whole file is checked before anything is sent.
Then each line is reported as created, updated, unchanged or refused; with --json as JSON
lines.

Exits with 0 only if none was refused, else with 1.
`,
		Example: `  caddy gatehouse service-account import accounts.jsonl
  caddy gatehouse service-account import --mode upsert --json - < accounts.jsonl`,
		Args: one("FILE, of JSON lines, or - for stdin"),
	}
	cmd.Flags().StringVar(&mode, "mode", "create", "create: refuse accounts that exist; upsert: update them")
	suggest(cmd, "mode", "create", "upsert")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the results as JSON lines")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		if mode != "create" && mode != "upsert" {
			return fmt.Errorf("--mode is %.40q; want create or upsert", mode)
		}
		lines, err := readLines(cmd, args[0])
		if err != nil {
			return err
		}
		if err := s.checkLines(ctx, args[0], lines); err != nil {
			return err
		}
		i := &importer{
			server: s, mode: mode, asJSON: asJSON, out: bufio.NewWriter(cmd.OutOrStdout()),
			bar:    &progress{w: cmd.ErrOrStderr(), live: p.terminal(cmd.ErrOrStderr()), total: len(lines)},
			counts: map[string]int{},
		}
		return i.run(ctx, cmd, lines)
	})
	return cmd
}

// run sends all lines. An error stops it; what was sent before stays written, and
// the error says so.
func (i *importer) run(ctx context.Context, cmd *cobra.Command, lines []line) error {
	done := 0
	var failure error
	for chunk := range chunks(lines) {
		i.bar.show(done)
		if failure = i.send(ctx, chunk); failure != nil {
			if done > 0 {
				failure = fmt.Errorf("the import stopped at line %d; those before are written: %w", chunk[0].number, failure)
			}
			break
		}
		done += len(chunk)
	}
	i.bar.finish(done)
	note(cmd.ErrOrStderr(), "created %d, updated %d, unchanged %d, refused %d",
		i.counts["created"], i.counts["updated"], i.counts["unchanged"], i.counts["refused"])
	if failure == nil && i.counts["refused"] > 0 {
		failure = fmt.Errorf("refused %d of %s", i.counts["refused"], count(len(lines), "account"))
	}
	return failure
}

func (i *importer) send(ctx context.Context, chunk []line) error {
	a := request{
		method: http.MethodPost, path: accountsPath + ":import", query: url.Values{"mode": {i.mode}},
		lines: true, wait: importWait,
	}
	for _, l := range chunk {
		a.body = append(append(a.body, l.text...), '\n')
	}
	answered := 0
	err := i.server.exchange(ctx, a, func(r io.Reader) error {
		i.bar.clear()
		scanner := bufio.NewScanner(r)
		scanner.Buffer(make([]byte, 0, 4096), maxResult)
		for scanner.Scan() {
			if err := i.result(scanner.Bytes(), chunk); err != nil {
				return err
			}
			answered++
		}
		return errors.Join(scanner.Err(), i.out.Flush())
	})
	if err != nil {
		return errors.Join(renumbered(err, chunk), i.out.Flush())
	}
	if answered != len(chunk) {
		return fmt.Errorf("%s reported %d of %s; list the accounts to see what is written", i.server.name, answered, count(len(chunk), "line"))
	}
	return nil
}

// result prints the result of one line, by its number in the file.
func (i *importer) result(text []byte, chunk []line) error {
	var r api.ImportResult
	if err := i.server.read(text, &r); err != nil {
		return err
	}
	if r.Line < 1 || r.Line > len(chunk) {
		return fmt.Errorf("%s reported a line %d, and there are %d", i.server.name, r.Line, len(chunk))
	}
	r.Line = chunk[r.Line-1].number
	r.Message = i.server.sanitize(r.Message)
	switch r.Result {
	case "created", "updated", "unchanged", "refused":
		i.counts[r.Result]++
	default:
		return fmt.Errorf("%s reported line %d as %.40q; want created, updated, unchanged or refused", i.server.name, r.Line, r.Result)
	}
	if i.asJSON {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = i.out.Write(append(escapeJSON(text), '\n'))
		return err
	}
	words := fmt.Sprintf("line %-6d  %-9s  %s", r.Line, r.Result, plain(r.Subject))
	if r.Message != "" {
		words += ": " + r.Message
	}
	_, err := fmt.Fprintln(i.out, words)
	return err
}

// namedLine is how the server says which line of a chunk is at fault.
var namedLine = regexp.MustCompile(`^line (\d+):`)

// renumbered makes a refusal name the line of the file.
func renumbered(err error, chunk []line) error {
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	if found := namedLine.FindStringSubmatch(r.message); found != nil {
		n, err := strconv.Atoi(found[1])
		if err == nil && n >= 1 && n <= len(chunk) {
			r.message = fmt.Sprintf("line %d:%s", chunk[n-1].number, r.message[len(found[0]):])
		}
	}
	return err
}

const (
	// maxImport bounds a file of accounts, in bytes: some millions of them.
	maxImport = 1 << 30
	// maxChunk is the most that is sent at once, in bytes; the server takes 64 MiB.
	maxChunk = 48 << 20
	// minChunkLines and maxChunks decide how many lines are sent at once. Each
	// chunk makes the server rewrite most of what it stores, so there are few:
	// one for a small file, some twenty for a large one.
	minChunkLines = 5000
	maxChunks     = 20
	// maxFaults is how many faulty lines an error lists.
	maxFaults = 50
)

// line is a line of a file that holds an account.
type line struct {
	number int // from 1
	text   []byte
}

// readLines reads a file of JSON lines. Blank lines are skipped.
func readLines(cmd *cobra.Command, name string) ([]line, error) {
	data, err := readInput(cmd, name, maxImport)
	if err != nil {
		return nil, err
	}
	var lines []line
	number := 0
	for text := range bytes.Lines(data) {
		number++
		if text = bytes.TrimSpace(text); len(text) > 0 {
			lines = append(lines, line{number, text})
		}
	}
	return lines, nil
}

// checkLines checks every line as the server will, so that nothing is written if
// one is not an account. The error lists those that are not.
func (s *server) checkLines(ctx context.Context, file string, lines []line) error {
	issuers, err := s.issuerNames(ctx)
	if err != nil {
		return err
	}
	var faults []string
	bad := 0
	for _, l := range lines {
		draft, err := account.Decode(l.text)
		if err == nil && issuers != nil {
			err = draft.SetIssuer(issuers)
		}
		if err == nil {
			continue
		}
		if bad++; bad <= maxFaults {
			faults = append(faults, fmt.Sprintf("%s:%d: %s", plain(inputName(file)), l.number, plain(err.Error())))
		}
	}
	if bad == 0 {
		return nil
	}
	if bad > maxFaults {
		faults = append(faults, fmt.Sprintf("and %d more", bad-maxFaults))
	}
	return fmt.Errorf("no account in %d of %s; nothing was written\n%s", bad, count(len(lines), "line"), strings.Join(faults, "\n"))
}

// issuerNames are the names that accounts may have for their issuer; nil if the
// server does not say.
func (s *server) issuerNames(ctx context.Context) (account.Issuers, error) {
	issuers, _, err := s.issuers(ctx)
	if isStatus(err, http.StatusNotFound) || err == nil && len(issuers) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make(account.Issuers, 0, len(issuers))
	for _, issuer := range issuers {
		if issuer.Name == "" {
			return nil, errors.New("the answer of " + s.name + " holds an issuer without a name; is it Caddy's admin endpoint?")
		}
		names = append(names, account.Issuer{Name: issuer.Name, Identifier: issuer.Issuer})
	}
	return names, nil
}

// chunks splits the lines into what is sent at once.
func chunks(lines []line) iter.Seq[[]line] {
	most := max(minChunkLines, (len(lines)+maxChunks-1)/maxChunks)
	return func(yield func([]line) bool) {
		for len(lines) > 0 {
			n, size := 0, 0
			for n < min(most, len(lines)) && (n == 0 || size+len(lines[n].text)+1 <= maxChunk) {
				size += len(lines[n].text) + 1
				n++
			}
			if !yield(lines[:n]) {
				return
			}
			lines = lines[n:]
		}
	}
}

func (p *program) accountExport(c *connection) *cobra.Command {
	var declared bool
	var issuer string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Prints all service accounts as JSON lines",
		Long: `
Prints the stored service accounts of a running server as JSON lines, which the command
import reads. Accounts that the configuration declares are not stored, and cannot be
imported where they are declared. They are left out unless --declared is given.
`,
		Example: `  caddy gatehouse service-account export > accounts.jsonl
  caddy gatehouse service-account export --declared --token-file admin.token`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&declared, "declared", false, "Also those that are declared in the configuration")
	cmd.Flags().StringVar(&issuer, "issuer", "", "Only those of the issuer with this configured name")
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	cmd.Flags().Bool("json", true, "The output is JSON lines anyway")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		out := bufio.NewWriter(cmd.OutOrStdout())
		left := 0
		err := s.accounts(ctx, queryOf(map[string]string{"issuer": issuer}), 0, func(page []json.RawMessage) error {
			for _, raw := range page {
				var a accountInfo
				if err := s.read(raw, &a); err != nil {
					return err
				}
				if a.CreatedAt.IsZero() && !declared {
					left++
					continue
				}
				line, err := compactJSON(raw)
				if err != nil {
					return err
				}
				if _, err := out.Write(line); err != nil {
					return err
				}
			}
			return out.Flush()
		})
		if err == nil && left > 0 {
			note(cmd.ErrOrStderr(), "note: left out what the configuration declares: %s (--declared shows them)", count(left, "account"))
		}
		return err
	})
	return cmd
}
