package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// importResult is one line of an import's answer.
type importResult struct {
	Line    int    `json:"line"`
	Subject string `json:"subject"`
	Result  string `json:"result"` // created, updated, unchanged, refused
	Message string `json:"message,omitempty"`
}

// importAccounts takes accounts as JSON lines and does them all in one write.
// Nothing is written if any line is no account. There is one import at a time: it
// takes the memory of all its accounts at once.
func (a *API) importAccounts(c *call) error {
	op, err := importMode(c.r.URL.Query().Get("mode"))
	if err != nil {
		return err
	}
	if err := checkContentType(c.r, "application/x-ndjson", "application/jsonl", "application/json"); err != nil {
		return err
	}
	if !a.importing.TryLock() {
		busy := problem(http.StatusServiceUnavailable, "another import is at work: try again when it is done; nothing was written")
		busy.RetryAfter = busyImport
		return busy
	}
	defer a.importing.Unlock()
	c.arriveWithin(importTime)
	body := http.MaxBytesReader(c.w, c.r.Body, maxImport)
	changes, lines, err := a.parseImport(body, op)
	if err != nil {
		_, _ = io.Copy(io.Discard, body) // a caller in the midst of sending would not see the answer
		return err
	}
	c.arriveWithin(0)
	results, err := a.services.Accounts.Apply(c.toTheEnd(), changes, nil)
	if err != nil {
		return a.accountFailed(c, "import", fmt.Sprintf("%d accounts", len(changes)), err)
	}
	for i, result := range results {
		target := a.target(account.Key{Issuer: changes[i].Draft.Issuer, Subject: changes[i].Draft.Subject})
		switch result.Outcome {
		case account.Created, account.Replaced:
			a.audit(c, "service_account.import", target)
		case account.Refused:
			a.auditOutcome(c, "service_account.import", target, outcomeRefused)
		}
	}
	writeImport(c.w, changes, lines, results)
	return nil
}

// busyImport is when to try again.
const busyImport = 5 * time.Second

func importMode(mode string) (account.Op, error) {
	switch mode {
	case "", "create":
		return account.Create, nil
	case "upsert":
		return account.Upsert, nil
	}
	return 0, problem(http.StatusBadRequest, "mode: expected create or upsert")
}

// parseImport reads the lines as they come; blank ones are passed over. The error
// names the first line that is no account.
func (a *API) parseImport(body io.Reader, op account.Op) (changes []account.Change, lines []int, err error) {
	scanner := bufio.NewScanner(body)
	scanner.Buffer(nil, account.MaxBody+len("\r\n"))
	number := 0
	for scanner.Scan() {
		number++
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 {
			continue
		}
		if len(changes) == maxLines {
			return nil, nil, problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body holds more than %d accounts: send them in several imports; nothing was written", maxLines))
		}
		draft, err := account.Decode(line)
		if err == nil {
			err = draft.SetIssuer(a.services.Issuers)
		}
		if err != nil {
			return nil, nil, badLine(number, err)
		}
		changes = append(changes, account.Change{Op: op, Draft: draft})
		lines = append(lines, number)
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, nil, badLine(number+1, errors.New("it is longer than 64 KiB"))
	case err != nil:
		return nil, nil, unread(err, "64 MiB")
	}
	return changes, lines, nil
}

func badLine(number int, err error) error {
	return problem(http.StatusBadRequest, fmt.Sprintf("line %d: %v; nothing was written", number, err))
}

func writeImport(w http.ResponseWriter, changes []account.Change, lines []int, results []account.Result) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for i, result := range results {
		line := importResult{Line: lines[i], Subject: changes[i].Draft.Subject, Result: result.Outcome.String()}
		if result.Err != nil {
			line.Message = result.Err.Error()
		}
		if out.Encode(line) != nil {
			return // the caller is gone
		}
	}
}
