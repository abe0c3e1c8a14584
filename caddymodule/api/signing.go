package api

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// signLicense signs a license, records that it did, and only then hands it out.
func (a *API) signLicense(c *call) error {
	const action = "license.sign"
	request, ttl, err := c.readSigning()
	if err != nil {
		return err
	}
	entry, err := a.sign(c, request, ttl)
	if err != nil {
		return a.failed(c, action, clip(request.Description), err)
	}
	a.audit(c, action, entry.ID)
	if a.services.OnSigned != nil {
		a.services.OnSigned(c.actor(), entry)
	}
	text, err := entry.License.Encode()
	if err != nil {
		return err
	}
	start(c.w, http.StatusOK, "application/json")
	_, _ = c.w.Write(text) // an error means that the caller is gone
	return nil
}

func (a *API) sign(c *call, request license.Request, ttl string) (entry active.Entry, err error) {
	if a.services.Sign == nil || a.services.Signed == nil {
		return entry, license.ErrMissingKey
	}
	if request.TTL, err = license.ParseTTL(ttl); err != nil {
		return entry, err
	}
	if entry.License, err = a.services.Sign(request); err != nil {
		return entry, err
	}
	entry.Actor = adminEndpoint
	if p := c.principal; p != nil {
		entry.Actor, entry.ActorIssuer = p.Subject(), p.Issuer()
	}
	return a.services.Signed.Add(c.r.Context(), entry)
}

// readSigning reads what is to be signed. Times are Unix seconds, grace is in
// seconds, and expire_at is how long from now the license is to be valid. An unknown
// or repeated member is refused: else something asked for would silently be missing.
func (c *call) readSigning() (r license.Request, ttl string, err error) {
	var version *int64
	err = c.readMembers(strictjson.Fields{
		"license_type":  text(&r.Type),
		"allowed_hosts": texts(&r.AllowedHosts),
		"description":   text(&r.Description),
		"expire_at":     text(&ttl),
		"features":      texts(&r.Features),
		"version":       integer(&version),
		"id":            text(&r.ID),
		"not_before":    integer(&r.NotBefore),
		"grace":         integer(&r.Grace),
		"issuer":        text(&r.Issuer),
		"environment":   text(&r.Environment),
		"instance":      text(&r.Instance),
		"enforcement": func(v strictjson.Value) error {
			return v.Each(func(name string, word strictjson.Value) error {
				var enforcement license.Enforcement
				err := text(&enforcement)(word)
				if r.Enforcement == nil {
					r.Enforcement = make(map[string]license.Enforcement)
				}
				r.Enforcement[name] = enforcement
				return err
			})
		},
		"limits": func(v strictjson.Value) error {
			return v.Each(func(name string, limit strictjson.Value) error {
				if limit.JSON.Kind() == 'n' {
					return &license.Error{Reason: license.ReasonForm, Field: "limits", Detail: "found null, want an integer for each name"}
				}
				var n *int64
				err := integer(&n)(limit)
				if r.Limits == nil {
					r.Limits = make(map[string]int64)
				}
				r.Limits[name] = *n
				return err
			})
		},
	})
	if version != nil {
		r.Version = int(max(-1, min(*version, math.MaxInt)))
	}
	if wrong := (*strictjson.Error)(nil); errors.As(err, &wrong) {
		err = problem(http.StatusBadRequest, signingFault(wrong))
	}
	return r, ttl, err
}

// signingFault says what is wrong with the JSON of what is to be signed. Of a member that
// is nested, the outermost is named.
func signingFault(wrong *strictjson.Error) string {
	name, _, _ := strings.Cut(wrong.Path, ".")
	name, _, _ = strings.Cut(name, "[")
	switch {
	case wrong.Problem == strictjson.Repeated:
		return "member " + name + " is repeated; want it once"
	case wrong.Problem == strictjson.Unknown:
		return "member " + clip(wrong.Found) + " is unknown; want license_type, allowed_hosts, description, expire_at, " +
			"features, version, id, not_before, grace, issuer, limits, enforcement, instance or environment"
	case wrong.Problem == strictjson.Mismatch && name == "":
		return "the body is not a JSON object"
	case wrong.Problem == strictjson.Mismatch:
		return "member " + name + " is of the wrong type"
	}
	return "the body is not valid JSON (RFC 8259, in UTF-8)"
}

func texts(to *[]string) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		elements, err := v.Elements(maxBody, "an array of strings") // which no body exceeds
		*to = make([]string, len(elements))
		for i := 0; i < len(elements) && err == nil; i++ {
			if elements[i].JSON.Kind() != 'n' { // null counts as "", which is refused later
				(*to)[i], err = elements[i].Text()
			}
		}
		return err
	}
}

// integer reads a number of any size that fits: licenses have bounds of their own,
// and errors for them.
func integer(to **int64) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		n, err := strconv.ParseInt(string(v.JSON), 10, 64)
		if err != nil {
			_, err = v.Integer()
		}
		*to = &n
		return err
	}
}

// clip shortens what a caller sent.
func clip(text string) string {
	const enough = 200
	if len(text) <= enough {
		return text
	}
	return text[:enough] + "…"
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

// listSigned answers with what was signed, newest first.
func (a *API) listSigned(c *call) error {
	limit, err := c.limit(active.MaxListed)
	if err != nil {
		return err
	}
	var entries []active.Entry
	if a.services.Signed != nil {
		if entries, err = a.services.Signed.List(c.r.Context(), c.r.URL.Query().Get("after"), limit); err != nil {
			return err
		}
	}
	shown := make([]signedEntry, 0, len(entries))
	for i := range entries {
		shown = append(shown, a.show(&entries[i]))
	}
	writeJSON(c.w, http.StatusOK, map[string][]signedEntry{"licenses": shown})
	return nil
}

func (a *API) show(e *active.Entry) signedEntry {
	shown := signedEntry{ID: e.ID, SignedAt: e.Time.UTC().Format(time.RFC3339)}
	if e.Err != nil {
		shown.Error = "the record is damaged or cannot be read"
		a.services.LogError(&Problem{Status: http.StatusOK, Message: "a record of a signature is damaged or cannot be read", Cause: e.Err})
		return shown
	}
	shown.Actor, shown.KeyID, shown.License = e.Actor, e.KeyID, e.License
	if e.ActorIssuer != "" {
		shown.Actor = e.ActorIssuer + "/" + e.Actor
	}
	return shown
}
