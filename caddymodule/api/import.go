package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

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
// Nothing is written if any line is no account.
func (a *API) importAccounts(c *call) error {
	op, err := importMode(c.r.URL.Query().Get("mode"))
	if err != nil {
		return err
	}
	if err := checkContentType(c.r, "application/x-ndjson", "application/jsonl", "application/json"); err != nil {
		return err
	}
	body, err := c.read(maxImport, "64 MiB", importTime)
	if err != nil {
		return err
	}
	changes, lines, err := a.parseImport(body, op)
	if err != nil {
		return err
	}
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

func importMode(mode string) (account.Op, error) {
	switch mode {
	case "", "create":
		return account.Create, nil
	case "upsert":
		return account.Upsert, nil
	}
	return 0, problem(http.StatusBadRequest, "mode: expected create or upsert")
}

// parseImport reads all lines; blank ones are passed over. The error names the
// first line that is no account.
func (a *API) parseImport(body []byte, op account.Op) (changes []account.Change, lines []int, err error) {
	number := 0
	for line := range bytes.Lines(body) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		draft, err := account.Decode(line)
		if err == nil {
			err = draft.SetIssuer(a.services.Issuers)
		}
		if err != nil {
			return nil, nil, problem(http.StatusBadRequest, fmt.Sprintf("line %d: %v; nothing was written", number, err))
		}
		changes = append(changes, account.Change{Op: op, Draft: draft})
		lines = append(lines, number)
	}
	return changes, lines, nil
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
