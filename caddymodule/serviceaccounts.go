package caddymodule

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// ServiceAccounts says how machines become known. Accounts are kept in Caddy's
// storage and changed over the API; some may be declared here besides.
type ServiceAccounts struct {
	// `required` refuses machines that are not registered; `optional` lets them
	// in as what their token says. Default: required.
	Registration string `json:"registration,omitempty"`

	// How soon a change made by another node is seen. Default: 1s.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// Accounts that are declared in the configuration: read-only over the API,
	// and in front of stored ones with the same issuer and subject.
	Accounts []*DeclaredAccount `json:"accounts,omitempty"`
}

// DeclaredAccount is a service account that the configuration itself declares.
type DeclaredAccount struct {
	// The subject of the machine's tokens, or its client id. Required.
	Subject string `json:"subject,omitempty"`

	// Which of the two it is: `subject` (of any caller), or `client` (of callers
	// that are known to be machines). Default: `either`, of callers that are known
	// to be machines.
	By string `json:"by,omitempty"`

	// The name of the issuer of its tokens. Default: the only one; with several
	// it must be said.
	Issuer string `json:"issuer,omitempty"`

	// A name for people. Default: none.
	Name string `json:"name,omitempty"`

	// Groups that the account is in, besides those in its tokens.
	Groups []string `json:"groups,omitempty"`

	// `active` or `inactive`, which refuses its tokens. Default: active.
	Status string `json:"status,omitempty"`
}

// The values of [ServiceAccounts.Registration].
const (
	registrationRequired = "required"
	registrationOptional = "optional"
)

func (s *ServiceAccounts) required() bool {
	return s == nil || s.Registration != registrationOptional
}

func (s *ServiceAccounts) refresh() time.Duration {
	if s == nil || s.Refresh == 0 {
		return account.DefaultRefresh
	}
	return time.Duration(s.Refresh)
}

// declared makes the accounts of the configuration.
func (s *ServiceAccounts) declared(issuers account.Issuers) (*account.Declared, error) {
	if s == nil {
		return nil, nil
	}
	if s.Registration != "" && s.Registration != registrationRequired && s.Registration != registrationOptional {
		return nil, fmt.Errorf("registration: found %q, expected %s or %s", s.Registration, registrationRequired, registrationOptional)
	}
	if s.Refresh != 0 && time.Duration(s.Refresh) < account.MinRefresh {
		return nil, fmt.Errorf("refresh: found %s, expected at least %s", time.Duration(s.Refresh), account.MinRefresh)
	}
	drafts := make([]account.Draft, 0, len(s.Accounts))
	for _, d := range s.Accounts {
		draft, err := d.draft(issuers)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", d.Subject, err)
		}
		drafts = append(drafts, draft)
	}
	return account.NewDeclared(drafts)
}

func (d *DeclaredAccount) draft(issuers account.Issuers) (account.Draft, error) {
	draft := account.Draft{
		Subject: d.Subject, Name: d.Name, Groups: d.Groups, Issuer: d.Issuer,
		Status: account.Status(d.Status), By: account.By(d.By),
	}
	if draft.Status == "" {
		draft.Status = account.StatusActive
	}
	return draft, draft.SetIssuer(issuers)
}
