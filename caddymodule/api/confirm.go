package api

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// confirmBody says whose accounts are meant for what the issuer's name stands for
// now.
type confirmBody struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"` // or id; empty: all accounts of the issuer
}

// confirmAccounts answers with the number of those that were meant for another
// issuer of that name, or for none that is known.
func (a *API) confirmAccounts(c *call) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	var asked confirmBody
	if json.Unmarshal(body, &asked, json.RejectUnknownMembers(true)) != nil {
		return problem(http.StatusBadRequest, `the body is not what is expected: {"issuer": "<name>", "subject": "<subject or id, or left out for all>"}`)
	}
	now := a.services.Issuers.Identifier(asked.Issuer)
	if now == "" {
		return problem(http.StatusUnprocessableEntity, "issuer: expected the name of a configured one")
	}
	var changes []account.Change
	confirm := func(key string) {
		changes = append(changes, account.Change{
			Op: account.Confirm, Key: key, Issuer: asked.Issuer, Draft: &account.Draft{Issuers: a.services.Issuers},
		})
	}
	if asked.Subject != "" {
		confirm(asked.Subject)
	} else {
		if err := a.awaitAccounts(c); err != nil {
			return err
		}
		for _, one := range a.services.Accounts.Page(account.Query{Issuer: asked.Issuer}) {
			if one.Identifier() != now {
				confirm(one.Subject())
			}
		}
	}
	return a.confirm(c, changes)
}

func (a *API) confirm(c *call, changes []account.Change) error {
	what := fmt.Sprintf("%d accounts", len(changes))
	results, err := a.services.Accounts.Apply(c.toTheEnd(), changes, nil)
	if err == nil && len(results) == 1 {
		what, err = a.target(account.Key{Issuer: changes[0].Issuer, Subject: changes[0].Key}), results[0].Err
	}
	if err != nil {
		return a.accountFailed(c, "confirm", what, err)
	}
	confirmed := 0
	for _, result := range results {
		if result.Outcome == account.Replaced {
			confirmed++
			a.audit(c, "service_account.confirm", a.target(result.Account.Key()))
		}
	}
	writeJSON(c.w, http.StatusOK, map[string]int{"confirmed": confirmed})
	return nil
}
