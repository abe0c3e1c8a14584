package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Licensing is the license in force.
type Licensing interface {
	// Standing is where the deployment stands with it, never nil.
	Standing() *license.Standing

	// Host is the host that a status is about where none is asked for, empty
	// if none is known.
	Host() string

	// Install makes a license the one in force. host is one that it must cover;
	// if that is empty, it must cover any of the sites that need a license.
	// Errors are those of [active.Keeper.Install], and a [*license.Error] with
	// the reason host.
	Install(ctx context.Context, data []byte, host string) error
}

const noLicense = "no license is asked for: the option `license { trusted_key … }` is not configured"

// standing is never nil.
func (a *API) standing() *license.Standing {
	if a.services.License == nil {
		return license.Missing(noLicense)
	}
	return a.services.License.Standing()
}

// hostAsked is ?host=, or else the deployment's own.
func (a *API) hostAsked(query url.Values) string {
	if host := query.Get("host"); host != "" || a.services.License == nil {
		return host
	}
	return a.services.License.Host()
}

// licenseStatus answers how the license in force stands.
func (a *API) licenseStatus(c *call) error {
	writeJSON(c.w, http.StatusOK, a.standing().Status(a.hostAsked(c.r.URL.Query())))
	return nil
}

// putLicense installs a license.
func (a *API) putLicense(c *call) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	if a.services.License == nil {
		return problem(http.StatusConflict, noLicense)
	}
	err = a.services.License.Install(c.r.Context(), body, c.r.URL.Query().Get("host"))
	target := licenseTarget(body)
	if err != nil {
		p := licenseProblem(err)
		a.auditOutcome(c, "license.install", target, outcomeOf(p))
		return p
	}
	a.audit(c, "license.install", target)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// licenseTarget names a license in the audit log: by its id, or else by whom it
// is for.
func licenseTarget(data []byte) string {
	l, err := license.Decode(data)
	if err != nil {
		return "unreadable"
	}
	return licenseName(&l.Payload)
}

func licenseName(p *license.Payload) string {
	if p.ID != "" {
		return p.ID
	}
	return p.Description
}

func outcomeOf(p *Problem) string {
	if p.Status >= http.StatusInternalServerError {
		return outcomeFailed
	}
	return outcomeRefused
}

// licenseProblem turns an error of the packages about licenses into an answer.
func licenseProblem(err error) *Problem {
	var fault *license.Error
	switch {
	case errors.As(err, &fault):
		return problem(http.StatusBadRequest, fault.Error())
	case errors.Is(err, license.ErrMissingKey):
		return problem(http.StatusBadRequest, license.ErrMissingKey.Error())
	case errors.Is(err, active.ErrConfigured):
		return problem(http.StatusConflict, active.ErrConfigured.Error())
	case errors.Is(err, active.ErrAfter):
		return problem(http.StatusUnprocessableEntity, "after: "+active.ErrAfter.Error())
	case errors.Is(err, active.ErrBusy), errors.Is(err, active.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return &Problem{Status: http.StatusServiceUnavailable, Message: active.ErrBusy.Error(), RetryAfter: storageRetry, Cause: err}
	case errors.Is(err, context.Canceled): // nobody is there to read it
		return &Problem{Status: http.StatusServiceUnavailable, Message: "the request was given up", RetryAfter: storageRetry}
	}
	return &Problem{Status: http.StatusInternalServerError, Message: "internal error", Cause: err}
}

// serverInfo describes the server.
type serverInfo struct {
	Version     string      `json:"version"`
	LicenseInfo licenseInfo `json:"license_info"`
}

// licenseInfo describes the license in force, in fewer states than there are.
type licenseInfo struct {
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
}

// serverinfo answers with the version and the license.
func (a *API) serverinfo(c *call) error {
	s := a.standing().Status(a.hostAsked(c.r.URL.Query()))
	writeJSON(c.w, http.StatusOK, serverInfo{
		Version: a.services.Operation.Version,
		LicenseInfo: licenseInfo{
			Status: shortState(s), IsValid: s.IsValid, VerifyError: s.VerifyError, VerifiedHost: s.VerifiedHost,
			KeyID: s.KeyID, AllowedHosts: s.AllowedHosts, Type: s.Type,
			IssuedAt: s.IssuedAt, ExpireAt: s.ExpireAt, Features: s.Features,
		},
	})
	return nil
}

// shortState is valid also while a license is expiring and in its grace.
func shortState(s license.Status) string {
	switch {
	case s.IsValid:
		return "valid"
	case s.State == license.StateExpired:
		return "expired"
	}
	return "invalid"
}

// signBody asks for a license. Times are Unix seconds, grace is in seconds, and
// expire_at is how long from now the license is to be valid.
type signBody struct {
	Type         string            `json:"license_type"`
	AllowedHosts []string          `json:"allowed_hosts"`
	Description  string            `json:"description"`
	ExpireAt     string            `json:"expire_at"`
	Features     []string          `json:"features"`
	Version      int               `json:"version"`
	ID           string            `json:"id"`
	NotBefore    *int64            `json:"not_before"`
	Grace        *int64            `json:"grace"`
	Issuer       string            `json:"issuer"`
	Limits       map[string]*int64 `json:"limits"`
	Environment  string            `json:"environment"`
}

// signLicense signs a license, records that it did, and only then hands it out.
func (a *API) signLicense(c *call) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	asked, err := decodeSign(body)
	if err != nil {
		return err
	}
	entry, err := a.makeLicense(c, asked)
	if err != nil {
		p := licenseProblem(err)
		a.auditOutcome(c, "license.sign", clip(asked.Description), outcomeOf(p))
		return p
	}
	a.audit(c, "license.sign", entry.ID)
	if a.services.OnSigned != nil {
		a.services.OnSigned(c.caller.Name(), entry)
	}
	text, err := entry.License.Encode()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = c.w.Write(text) // an error means that the caller is gone
	return nil
}

func (a *API) makeLicense(c *call, asked *signBody) (active.Entry, error) {
	if a.services.Sign == nil || a.services.Signed == nil {
		return active.Entry{}, license.ErrMissingKey
	}
	request, err := asked.request()
	if err != nil {
		return active.Entry{}, err
	}
	signed, err := a.services.Sign(request)
	if err != nil {
		return active.Entry{}, err
	}
	entry := active.Entry{Actor: adminEndpoint, License: signed}
	if p := c.caller.Principal; p != nil {
		entry.Actor, entry.ActorIssuer = p.Subject(), p.Issuer()
	}
	return a.services.Signed.Add(c.r.Context(), entry)
}

func (b *signBody) request() (license.Request, error) {
	ttl, err := license.ParseTTL(b.ExpireAt)
	if err != nil {
		return license.Request{}, err
	}
	r := license.Request{
		Type: license.Type(b.Type), AllowedHosts: b.AllowedHosts, Description: b.Description,
		TTL: ttl, Features: b.Features, Version: b.Version, ID: b.ID, NotBefore: b.NotBefore,
		Grace: b.Grace, Issuer: b.Issuer, Environment: b.Environment,
	}
	for name, limit := range b.Limits {
		if limit == nil {
			return r, &license.Error{Reason: license.ReasonForm, Field: "limits", Detail: "found null, want an integer for each name"}
		}
		if r.Limits == nil {
			r.Limits = make(map[string]int64, len(b.Limits))
		}
		r.Limits[name] = *limit
	}
	return r, nil
}

// decodeSign reads the body strictly: a member that is unknown, or stands twice,
// would be a wish that is not heard.
func decodeSign(body []byte) (*signBody, error) {
	asked := new(signBody)
	err := json.Unmarshal(body, asked, json.RejectUnknownMembers(true))
	if err == nil && jsontext.Value(body).Kind() != '{' {
		return nil, problem(http.StatusBadRequest, "the body is not a JSON object")
	}
	if err == nil {
		return asked, nil
	}
	return nil, problem(http.StatusBadRequest, decodeWords(err))
}

// decodeWords words a decoder's error without what it quotes of the body, but for
// a member's name.
func decodeWords(err error) string {
	var syntax *jsontext.SyntacticError
	var meaning *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return memberName(syntax.JSONPointer) + " is repeated; want it once"
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &meaning):
		return memberName(meaning.JSONPointer) + " is unknown; want license_type, allowed_hosts, description, expire_at, " +
			"features, version, id, not_before, grace, issuer, limits or environment"
	case errors.As(err, &meaning) && meaning.JSONPointer != "":
		return memberName(meaning.JSONPointer) + " is of the wrong type"
	case errors.As(err, &meaning):
		return "the body is not a JSON object"
	}
	return "the body is not valid JSON (RFC 8259, in UTF-8)"
}

// memberName is the outermost member that a pointer leads through.
func memberName(pointer jsontext.Pointer) string {
	for name := range pointer.Tokens() {
		return "member " + clip(name)
	}
	return "the body"
}

// clip keeps what a caller sent short.
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
