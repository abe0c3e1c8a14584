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
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// importAccounts takes accounts as JSON lines and stores them all in one write.
// Nothing is written if any line is not an account. There is one import at a time, as
// it holds all its accounts in memory.
func (a *API) importAccounts(c *call) error {
	op := account.Create
	switch c.r.URL.Query().Get("mode") {
	case "", "create":
	case "upsert":
		op = account.Upsert
	default:
		return problem(http.StatusBadRequest, "mode: expected create or upsert")
	}
	if err := checkContentType(c.r, "application/x-ndjson", "application/jsonl", "application/json"); err != nil {
		return err
	}
	if !a.importing.TryLock() {
		return &Problem{
			Status: http.StatusServiceUnavailable, RetryAfter: 5 * time.Second,
			Message: "another import is at work: try again when it is done; nothing was written",
		}
	}
	defer a.importing.Unlock()
	c.arriveWithin(importTime)
	body := http.MaxBytesReader(c.w, c.r.Body, maxImport)
	changes, lines, err := a.parseImport(body, op)
	if err != nil {
		_, _ = io.Copy(io.Discard, body) // a caller who is still sending would not see the answer
		return err
	}
	c.arriveWithin(0)
	err = a.room(changes)
	var results []account.Result
	if err == nil {
		results, err = a.services.Accounts.Apply(c.toTheEnd(), changes, nil)
	}
	if err != nil {
		return a.failed(c, "service_account.import", fmt.Sprintf("%d accounts", len(changes)), err)
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

// parseImport reads the lines as they come and skips blank ones. The error names the
// first line that is not an account.
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

// ImportResult says what became of one line of an import.
type ImportResult struct {
	Line    int    `json:"line"`
	Subject string `json:"subject"`
	Result  string `json:"result"` // created, updated, unchanged or refused
	Message string `json:"message,omitempty"`
}

// writeImport answers with one line for each that was sent.
func writeImport(w http.ResponseWriter, changes []account.Change, lines []int, results []account.Result) {
	start(w, http.StatusOK, "application/x-ndjson")
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for i, result := range results {
		line := ImportResult{Line: lines[i], Subject: changes[i].Draft.Subject, Result: string(result.Outcome)}
		if result.Err != nil {
			line.Message = result.Err.Error()
		}
		if out.Encode(line) != nil {
			return // the caller is gone
		}
	}
}

// confirmAccounts makes accounts count for the issuer that has their issuer's name
// now: all of that name, or the one of a subject. It answers with the number of
// those that were meant for another issuer of that name, or for none that is known.
func (a *API) confirmAccounts(c *call) error {
	var issuer, subject string // or an id
	err := expected(`the body is not what is expected: {"issuer": "<name>", "subject": "<subject or id, or left out for all>"}`,
		c.readMembers(strictjson.Fields{"issuer": text(&issuer), "subject": text(&subject)}))
	if err != nil {
		return err
	}
	identifier := a.services.Issuers.Identifier(issuer)
	if identifier == "" {
		return problem(http.StatusUnprocessableEntity, "issuer: expected the name of a configured one")
	}
	keys := []string{subject}
	if subject == "" {
		if err := a.awaitAccounts(c); err != nil {
			return err
		}
		keys = nil
		for _, one := range a.services.Accounts.Page(account.Query{Issuer: issuer}) {
			if one.Traits().Identifier != identifier {
				keys = append(keys, one.Subject())
			}
		}
	}
	var changes []account.Change
	for _, key := range keys {
		changes = append(changes, account.Change{
			Op: account.Confirm, Key: key, Issuer: issuer, Draft: &account.Draft{Issuers: a.services.Issuers},
		})
	}
	return a.confirm(c, changes)
}

func (a *API) confirm(c *call, changes []account.Change) error {
	const action = "service_account.confirm"
	what := fmt.Sprintf("%d accounts", len(changes))
	results, err := a.services.Accounts.Apply(c.toTheEnd(), changes, nil)
	if err == nil && len(results) == 1 {
		what, err = a.target(account.Key{Issuer: changes[0].Issuer, Subject: changes[0].Key}), results[0].Err
	}
	if err != nil {
		return a.failed(c, action, what, err)
	}
	confirmed := 0
	for _, result := range results {
		if result.Outcome == account.Replaced {
			confirmed++
			a.audit(c, action, a.target(result.Account.Key()))
		}
	}
	writeJSON(c.w, http.StatusOK, map[string]int{"confirmed": confirmed})
	return nil
}

// Comparison is what storage holds beside what this node knows. A is an account: as it is
// kept for the API, and as it was read for a client.
type Comparison[A any] struct {
	StorageState registry.StorageState `json:"storage_state"`
	Node         *Side                 `json:"node"`    // null: nothing
	Storage      *Side                 `json:"storage"` // null: nothing
	OnlyNode     int                   `json:"only_node"`
	OnlyStorage  int                   `json:"only_storage"`
	Different    int                   `json:"different"`
	Differences  []Difference[A]       `json:"differences"` // the first hundred of those
	Damaged      []string              `json:"damaged"`     // records that storage lacks, or that cannot be read
}

// Side is one of the two: storage, or this node.
type Side struct {
	Revision uint64 `json:"revision"`
	ID       string `json:"id"`
	account.Counts
}

// Difference is one account that is not the same on both sides.
type Difference[A any] struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Node    *A     `json:"node"`    // null: it is not there
	Storage *A     `json:"storage"` // null: it is not there
}

func sideOf(s *registry.Side[account.Key, account.Account]) *Side {
	if s == nil {
		return nil
	}
	return &Side{s.Revision, s.ID, account.Count(s.Records, time.Now())}
}

// compareAccounts answers with what the two sides hold.
func (a *API) compareAccounts(c *call) error {
	found, err := a.services.Accounts.Compare()
	if err != nil {
		return err
	}
	shown := Comparison[account.Account]{
		StorageState: found.StorageState, Node: sideOf(found.Node), Storage: sideOf(found.Storage),
		OnlyNode: found.OnlyNode, OnlyStorage: found.OnlyStorage, Different: found.Different,
		Differences: make([]Difference[account.Account], len(found.Differences)), Damaged: append([]string{}, found.Damaged...),
	}
	for i, d := range found.Differences {
		key := d.Record().Key()
		shown.Differences[i] = Difference[account.Account]{key.Issuer, key.Subject, d.After, d.Before}
	}
	writeJSON(c.w, http.StatusOK, shown)
	return nil
}

// repairAccounts keeps one of the two sides, and answers with the records that were
// damaged or gone.
func (a *API) repairAccounts(c *call) error {
	const action = "service_account.repair"
	var keep registry.Keep
	err := expected(`the body is not what is expected: {"keep": "node"} or {"keep": "storage"}`, c.readMembers(strictjson.Fields{"keep": text(&keep)}))
	if err != nil {
		return err
	}
	mended, err := a.services.Accounts.Repair(c.toTheEnd(), keep)
	if err != nil {
		return a.failed(c, action, string(keep), err)
	}
	a.audit(c, action, fmt.Sprintf("%s, %d records", keep, len(mended)))
	writeJSON(c.w, http.StatusOK, map[string]any{"kept": keep, "mended": append([]string{}, mended...)})
	return nil
}
