package api

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
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

	// Instance is the fingerprint of this instance; empty: it has none yet.
	Instance string `json:"instance"`

	// Revocations is nil where there is no list of revoked licenses.
	Revocations *active.RevocationStatus `json:"revocation_list"`

	// Renewal is nil where the license is not renewed.
	Renewal *active.RenewalStatus `json:"renewal"`

	// Usage is how much is used of the limits that are counted.
	Usage map[string]usage.Share `json:"usage"`
}

// ProofState is how DPoP proofs are remembered.
type ProofState struct {
	Nonce        string `json:"nonce"`         // off or node
	Remembered   int    `json:"remembered"`    // some of which may be too old by now
	ReplayMemory int    `json:"replay_memory"` // how many there is room for
	OtherNodes   int    `json:"other_nodes"`   // that share the storage; counted with nonce off only
}

// Status is the answer of /api/status.
type Status struct {
	Version     string            `json:"version"`
	Node        string            `json:"node"`    // this machine's name; empty: not known
	Storage     string            `json:"storage"` // which one: its module, and the folder if it is one
	License     *LicenseStatus    `json:"license"` // null: no license is asked for
	Issuers     []IssuerStatus    `json:"issuers"`
	Accounts    *AccountStatus    `json:"accounts"`
	Revocations *RevocationStatus `json:"revocations"` // nil: of an older server
	Seats       *SeatState        `json:"seats"`       // null: no login brings a license
	DPoP        *ProofState       `json:"dpop"`        // null: the configuration does not speak of it
	Refusals    map[string]int    `json:"refusals"`    // of the last hour, by reason
	Hour        Hour              `json:"hour"`
	Changes     []AuditEntry      `json:"changes"` // the last ones at this node, the newest first
}

// Hour is what became of requests in the last hour.
type Hour struct {
	Begin  time.Time `json:"begin"` // of the first of 60 minutes; the last is the current one
	Series []Minutes `json:"series"`
}

// Minutes count one result of the requests with tokens of one issuer.
type Minutes struct {
	Issuer string `json:"issuer"` // the configured name that the token claims; empty: none
	Result string `json:"result"` // let_in, or the reason of the refusal
	Counts []int  `json:"counts"` // by minute, the oldest first
}

const letIn = "let_in"

// refusals counts them by reason, over all issuers.
func (h Hour) refusals() map[string]int {
	sums := make(map[string]int)
	for _, one := range h.Series {
		if one.Result == letIn {
			continue
		}
		for _, n := range one.Counts {
			sums[one.Result] += n
		}
	}
	return sums
}

// SeatState is which instances have a license in exchange for a login.
type SeatState struct {
	Storage registry.StorageState `json:"storage"` // ready, unread, away, emptied or diverged
	Taken   []activation.Count    `json:"taken"`
}

// AccountStatus counts the service accounts that this node knows.
type AccountStatus struct {
	account.Counts
	// Unconfirmed are for an issuer that had the name of a configured one, and let
	// nobody in. They are counted above, too.
	Unconfirmed int    `json:"unconfirmed"`
	Loaded      bool   `json:"loaded"`       // they were read at least once
	SyncedAt    Moment `json:"synced_at"`    // when storage last confirmed them
	StorageAway bool   `json:"storage_away"` // or it holds something else
	// Storage is ready, unread, away, emptied or diverged.
	Storage registry.StorageState `json:"storage"`
}

// RevocationStatus counts the revocations that this node knows.
type RevocationStatus struct {
	Count    int    `json:"count"`     // in force
	Loaded   bool   `json:"loaded"`    // they were read at least once
	SyncedAt Moment `json:"synced_at"` // when storage last confirmed them
	// Storage is ready, unread, away or emptied.
	Storage registry.StorageState `json:"storage"`
}

// getStatus answers with license, issuers, accounts and recent refusals.
func (a *API) getStatus(c *call) error {
	accounts := a.services.Accounts
	hour := a.services.Operation.Hour()
	s := Status{
		Version: a.services.Operation.Version, Node: a.services.Operation.Node, Storage: a.services.Operation.Storage, Issuers: a.issuerStatuses(),
		Refusals: hour.refusals(), Hour: hour, Changes: append([]AuditEntry{}, a.services.Operation.Changes()...),
		Revocations: &RevocationStatus{},
		Accounts: &AccountStatus{
			Counts: accounts.Counts(), Loaded: accounts.Loaded(), SyncedAt: Moment{accounts.Synced()},
			StorageAway: accounts.Unavailable(), Storage: accounts.StorageState(),
		},
	}
	if revoked := a.services.Revocations; revoked != nil {
		s.Revocations = &RevocationStatus{revoked.Count(), revoked.Loaded(), Moment{revoked.Synced()}, revoked.StorageState()}
	}
	for _, n := range accounts.Unconfirmed(a.services.Issuers) {
		s.Accounts.Unconfirmed += n
	}
	if proofs := a.services.Operation.Proofs; proofs != nil {
		s.DPoP = proofs()
	}
	if license := a.services.Operation.License; license != nil {
		now := license()
		s.License = &now
	}
	if seats := a.services.Operation.Seats; seats != nil {
		now := seats()
		s.Seats = &now
	}
	writeJSON(c.w, http.StatusOK, s)
	return nil
}

// The parts of the page. What its reasons mean is taken from docs/troubleshooting.md
// by a test.
var (
	//go:embed page/index.html
	pageHTML string
	//go:embed page/page.css
	pageStyle string
	//go:embed page/page.js
	pageScript string
	//go:embed page/reasons.json
	pageReasons string
)

// statusPage is the page at /gatehouse/. It holds no data: it asks for a token, keeps
// it in memory only, and fetches the API's routes by relative addresses, so that it
// works under a prefix.
var statusPage = strings.NewReplacer(
	"/* page.css */", pageStyle,
	"/* page.js */", strings.Replace(pageScript, "{/* reasons.json */}", strings.TrimSpace(pageReasons), 1),
).Replace(pageHTML)

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
