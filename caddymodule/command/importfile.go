package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

const (
	// maxImport bounds a file of accounts, in bytes: some millions of them.
	maxImport = 1 << 30
	// maxChunk is the most that is sent at once, in bytes; the server takes 64 MiB.
	maxChunk = 48 << 20
	// minChunkLines and maxChunks say how many lines are sent at once. Few go
	// in one, many in some twenty: each chunk is a change of its own, which
	// costs the server a rewrite of most that it keeps.
	minChunkLines = 5000
	maxChunks     = 20
	// maxFaults is how many faulty lines are told of.
	maxFaults = 50
)

// line is a line of a file that holds an account.
type line struct {
	number int // from 1
	text   []byte
}

// readLines reads a file of JSON lines. Blank lines are passed over.
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

// checkLines checks every line as the server will, so that nothing is written
// if one is no account. The error names all that are not.
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
// server does not tell.
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
			return nil, errors.New("the answer of " + s.place + " holds an issuer without a name; is it Caddy's admin endpoint?")
		}
		names = append(names, account.Issuer{Name: issuer.Name, Identifier: issuer.Issuer})
	}
	return names, nil
}

// chunks deals the lines into what is sent at once.
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

func joinLines(lines []line) []byte {
	size := 0
	for _, l := range lines {
		size += len(l.text) + 1
	}
	body := make([]byte, 0, size)
	for _, l := range lines {
		body = append(append(body, l.text...), '\n')
	}
	return body
}
