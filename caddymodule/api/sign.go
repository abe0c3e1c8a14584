package api

import (
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

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
