package api

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// LicenseStatus is the license's status as operators see it.
type LicenseStatus struct {
	license.Status

	// Sealed: the build fixes whom to trust.
	Sealed bool `json:"sealed"`

	// Source is where the license comes from.
	Source string `json:"source"`

	// SourceError says what is wrong there although a license is in force, which
	// a restart would lose; else it is empty.
	SourceError string `json:"source_error"`

	// ClockSuspect: the clock is more than a day behind a time seen before.
	ClockSuspect bool `json:"clock_suspect"`
}

// status is the answer of /api/status.
type status struct {
	Version  string         `json:"version"`
	License  *LicenseStatus `json:"license"` // null: no license is asked for
	Issuers  []issuerState  `json:"issuers"`
	Accounts accountState   `json:"accounts"`
	Refusals map[string]int `json:"refusals"` // of the last hour, by reason
}

type accountState struct {
	Active   int `json:"active"`
	Inactive int `json:"inactive"`
	Expired  int `json:"expired"`
	// Unconfirmed are for an issuer that had the name of a configured one, and let
	// nobody in. They are counted above, too.
	Unconfirmed int        `json:"unconfirmed"`
	Loaded      bool       `json:"loaded"`       // they were read at least once
	SyncedAt    *time.Time `json:"synced_at"`    // when storage last confirmed them; null: never
	StorageAway bool       `json:"storage_away"` // or it holds something else
	// Storage is ready, unread, away, emptied or diverged.
	Storage account.StorageState `json:"storage"`
}

// getStatus answers with license, issuers, accounts and recent refusals.
func (a *API) getStatus(c *call) error {
	accounts := a.services.Accounts
	counts := accounts.Counts()
	s := status{
		Version: a.services.Operation.Version, Issuers: a.issuerStates(), Refusals: a.services.Operation.Refusals(),
		Accounts: accountState{
			Active: counts.Active, Inactive: counts.Inactive, Expired: counts.Expired,
			Loaded: accounts.Loaded(), SyncedAt: momentOf(accounts.Synced()),
			StorageAway: accounts.Unavailable(), Storage: accounts.StorageState(),
		},
	}
	for _, n := range accounts.Unconfirmed(a.services.Issuers) {
		s.Accounts.Unconfirmed += n
	}
	if license := a.services.Operation.License; license != nil {
		now := license()
		s.License = &now
	}
	writeJSON(c.w, http.StatusOK, s)
	return nil
}

// statusPage is the page at /gatehouse/. It holds no data: it asks for a token, keeps
// it in memory only, and fetches the API's routes by relative addresses, so that it
// works under a prefix.
//
//go:embed page/index.html
var statusPage string

// trustedPage is the page for callers who need no token; it does not ask for one.
var trustedPage = strings.Replace(statusPage, "<html ", "<html data-trusted ", 1)

// pagePolicy lets the page's own style and script run and fetch from where it
// came from, and nothing else.
var pagePolicy = strings.Join([]string{
	"default-src 'none'",
	"style-src " + digestOf("style"),
	"script-src " + digestOf("script"),
	"connect-src 'self'",
	"img-src data:",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
}, "; ")

// digestOf allows the one element of that name.
func digestOf(element string) string {
	_, rest, _ := strings.Cut(statusPage, "<"+element+">")
	content, _, _ := strings.Cut(rest, "</"+element+">")
	digest := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

// page answers with the page, to anyone.
func (a *API) page(c *call) error {
	header := c.w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "same-origin") // Caddy's admin endpoint looks at it
	c.w.WriteHeader(http.StatusOK)
	body := statusPage
	if c.trusted {
		body = trustedPage
	}
	_, _ = c.w.Write([]byte(body))
	return nil
}
