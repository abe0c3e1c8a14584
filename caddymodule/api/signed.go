package api

import (
	"context"
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Signed is the record of the licenses that were signed here.
type Signed interface {
	// Add records a signature. If it fails, nobody may get the license.
	Add(ctx context.Context, e active.Entry) (active.Entry, error)

	// List gives what was signed before the entry of an id, newest first.
	List(ctx context.Context, after string, limit int) ([]active.Entry, error)
}

// signedEntry is one signature as it is shown.
type signedEntry struct {
	ID       string           `json:"id"`
	SignedAt string           `json:"signed_at"` // RFC 3339
	Actor    string           `json:"actor,omitempty"`
	KeyID    string           `json:"key_id,omitempty"`
	License  *license.License `json:"license,omitempty"`
	Error    string           `json:"error,omitempty"` // of a record that cannot be read
}

// signedList is a page of the record.
type signedList struct {
	Licenses []signedEntry `json:"licenses"`
}

// listSigned answers with what was signed, newest first.
func (a *API) listSigned(c *call) error {
	limit, err := c.limit(active.MaxListed)
	if err != nil {
		return err
	}
	list := signedList{Licenses: []signedEntry{}}
	if a.services.Signed == nil {
		writeJSON(c.w, http.StatusOK, list)
		return nil
	}
	entries, err := a.services.Signed.List(c.r.Context(), c.r.URL.Query().Get("after"), limit)
	if err != nil {
		return licenseProblem(err)
	}
	for i := range entries {
		list.Licenses = append(list.Licenses, a.show(&entries[i]))
	}
	writeJSON(c.w, http.StatusOK, list)
	return nil
}

func (a *API) show(e *active.Entry) signedEntry {
	shown := signedEntry{ID: e.ID, SignedAt: e.Time.UTC().Format(time.RFC3339)}
	if e.Err != nil {
		shown.Error = "the record is damaged or cannot be read"
		a.services.logError(&Problem{Status: http.StatusOK, Message: "a record of a signature is damaged or cannot be read", Cause: e.Err})
		return shown
	}
	shown.Actor, shown.KeyID, shown.License = e.Actor, e.KeyID, e.License
	if e.ActorIssuer != "" {
		shown.Actor = e.ActorIssuer + "/" + e.Actor
	}
	return shown
}
