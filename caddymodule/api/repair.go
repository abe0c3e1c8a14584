package api

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// comparison is what storage holds beside what this node knows.
type comparison struct {
	StorageState account.Standing `json:"storage_state"`
	Node         *side            `json:"node"`    // null: nothing
	Storage      *side            `json:"storage"` // null: nothing
	OnlyNode     int              `json:"only_node"`
	OnlyStorage  int              `json:"only_storage"`
	Different    int              `json:"different"`
	// Differences are the first hundred of those.
	Differences []difference `json:"differences"`
	// Damaged are the records that storage lacks, or that cannot be read.
	Damaged []string `json:"damaged"`
}

type side struct {
	Revision uint64 `json:"revision"`
	ID       string `json:"id"`
	Active   int    `json:"active"`
	Inactive int    `json:"inactive"`
	Expired  int    `json:"expired"`
}

// difference is one account that is not the same on both sides.
type difference struct {
	Issuer  string           `json:"issuer"`
	Subject string           `json:"subject"`
	Node    *account.Account `json:"node"`    // null: it is not there
	Storage *account.Account `json:"storage"` // null: it is not there
}

func sideOf(s *account.Side) *side {
	if s == nil {
		return nil
	}
	return &side{s.Revision, s.ID, s.Counts.Active, s.Counts.Inactive, s.Counts.Expired}
}

// compareAccounts answers with what the two sides hold.
func (a *API) compareAccounts(c *call) error {
	found, err := a.services.Operation.Registry.Compare()
	if err != nil {
		return accountProblem(err)
	}
	shown := comparison{
		StorageState: found.Standing, Node: sideOf(found.Node), Storage: sideOf(found.Storage),
		OnlyNode: found.OnlyNode, OnlyStorage: found.OnlyStorage, Different: found.Different,
		Differences: make([]difference, len(found.Differences)), Damaged: append([]string{}, found.Damaged...),
	}
	for i, d := range found.Differences {
		key := d.Key()
		shown.Differences[i] = difference{key.Issuer, key.Subject, d.After, d.Before}
	}
	writeJSON(c.w, http.StatusOK, shown)
	return nil
}

// repairBody says which of the two is kept.
type repairBody struct {
	Keep account.Keep `json:"keep"`
}

// repairAccounts answers with the records that were damaged or gone.
func (a *API) repairAccounts(c *call) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	var asked repairBody
	if json.Unmarshal(body, &asked, json.RejectUnknownMembers(true)) != nil {
		return problem(http.StatusBadRequest, `the body is not what is expected: {"keep": "node"} or {"keep": "storage"}`)
	}
	const action = "repair"
	mended, err := a.services.Operation.Registry.Repair(c.toTheEnd(), asked.Keep)
	if err != nil {
		return a.accountFailed(c, action, string(asked.Keep), err)
	}
	a.audit(c, "service_account."+action, fmt.Sprintf("%s, %d records", asked.Keep, len(mended)))
	writeJSON(c.w, http.StatusOK, map[string]any{"kept": asked.Keep, "mended": append([]string{}, mended...)})
	return nil
}
