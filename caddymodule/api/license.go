package api

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Licensing is the license in force.
type Licensing interface {
	// Validity is its state for this deployment, never nil.
	Validity() *license.Validity

	// Host is the host that a status is about where none is asked for, empty
	// if none is known.
	Host() string

	// Install makes a license the one in force. host is one that it must cover;
	// if that is empty, it must cover any of the sites that need a license.
	// Errors are those of [active.Keeper.Install], and a [*license.Error] with
	// the reason host.
	Install(ctx context.Context, data []byte, host string) error

	// Instance is this deployment as its vendor knows it. It is made when it is first
	// asked for. Errors are those of [active.Keeper.MakeInstance].
	Instance(ctx context.Context) (*active.Instance, error)

	// OpenResponse opens the file of a vendor's response to a request of that id. The
	// error is a [*license.Error].
	OpenResponse(data []byte, requestID string) (*license.OfflineResponse, error)
}

const noLicense = "no license is asked for: the option `license { trusted_key … }` is not configured"

// validity is the state of the license in force, never nil.
func (a *API) validity() *license.Validity {
	if a.services.License == nil {
		return license.Missing(noLicense)
	}
	return a.services.License.Validity()
}

// hostAsked is ?host=, or else the deployment's own.
func (a *API) hostAsked(query url.Values) string {
	if host := query.Get("host"); host != "" || a.services.License == nil {
		return host
	}
	return a.services.License.Host()
}

// licenseStatus answers with the state of the license in force.
func (a *API) licenseStatus(c *call) error {
	writeJSON(c.w, http.StatusOK, a.validity().Status(a.hostAsked(c.r.URL.Query())))
	return nil
}

// putLicense installs a license.
func (a *API) putLicense(c *call) error {
	const action = "license.install"
	body, err := c.readBody()
	if err != nil {
		return err
	}
	if a.services.License == nil {
		return problem(http.StatusConflict, noLicense)
	}
	// The audit log names it by its id, or else by whom it is for.
	target := "unreadable"
	if l, err := license.Decode(body); err == nil {
		target = cmp.Or(l.Payload.ID, l.Payload.Description)
	}
	if err := a.services.License.Install(c.r.Context(), body, c.r.URL.Query().Get("host")); err != nil {
		return a.failed(c, action, target, err)
	}
	a.audit(c, action, target)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// serverInfo describes the server, and the license in force in fewer states than
// there are.
type serverInfo struct {
	Version     string `json:"version"`
	LicenseInfo struct {
		Status       string       `json:"status"` // valid, expired or invalid
		IsValid      bool         `json:"is_valid"`
		VerifyError  string       `json:"verify_error"`
		VerifiedHost string       `json:"verified_host"`
		KeyID        string       `json:"key_id"`
		AllowedHosts []string     `json:"allowed_hosts"`
		Type         license.Type `json:"type"`
		IssuedAt     int64        `json:"issued_at"`
		ExpireAt     int64        `json:"expire_at"`
		Features     []string     `json:"features"`
	} `json:"license_info"`
}

// serverinfo answers with the version and the license.
func (a *API) serverinfo(c *call) error {
	s := a.validity().Status(a.hostAsked(c.r.URL.Query()))
	info := serverInfo{Version: a.services.Operation.Version}
	l := &info.LicenseInfo
	switch {
	case s.IsValid: // also while it is expiring and in its grace
		l.Status = "valid"
	case s.State == license.StateExpired:
		l.Status = "expired"
	default:
		l.Status = "invalid"
	}
	l.IsValid, l.VerifyError, l.VerifiedHost = s.IsValid, s.VerifyError, s.VerifiedHost
	l.KeyID, l.AllowedHosts, l.Type = s.KeyID, s.AllowedHosts, s.Type
	l.IssuedAt, l.ExpireAt, l.Features = s.IssuedAt, s.ExpireAt, s.Features
	writeJSON(c.w, http.StatusOK, info)
	return nil
}

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
		a.services.OnSigned(c.caller.Name(), entry)
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
	if p := c.caller.Principal; p != nil {
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
	var wrong *strictjson.Error
	if !errors.As(err, &wrong) {
		return r, ttl, err
	}
	// Of a member that is nested, the outermost is named.
	name, _, _ := strings.Cut(wrong.Path, ".")
	name, _, _ = strings.Cut(name, "[")
	words := "the body is not valid JSON (RFC 8259, in UTF-8)"
	switch {
	case wrong.Problem == strictjson.Repeated:
		words = "member " + name + " is repeated; want it once"
	case wrong.Problem == strictjson.Unknown:
		words = "member " + clip(wrong.Found) + " is unknown; want license_type, allowed_hosts, description, expire_at, " +
			"features, version, id, not_before, grace, issuer, limits, enforcement, instance or environment"
	case wrong.Problem == strictjson.Mismatch && name == "":
		words = "the body is not a JSON object"
	case wrong.Problem == strictjson.Mismatch:
		words = "member " + name + " is of the wrong type"
	}
	return r, ttl, problem(http.StatusBadRequest, words)
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
