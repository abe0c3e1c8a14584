package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

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
	body, err := c.readBody(typeJSON)
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

// serverInfo describes the server and the license in force, whose state is one of three
// here.
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

// licenseInstance answers with this deployment's instance, and makes it if there is
// none yet.
func (a *API) licenseInstance(c *call) error {
	if a.services.License == nil {
		return problem(http.StatusConflict, noLicense)
	}
	known, err := a.services.License.Instance(c.toTheEnd())
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]string{
		"fingerprint": known.Fingerprint(),
		"public_key":  base64.StdEncoding.EncodeToString(known.Public()), // SubjectPublicKeyInfo (RFC 5280)
	})
	return nil
}

// licenseUsage answers with how much is used of the license, signed by the instance.
func (a *API) licenseUsage(c *call) error {
	if a.services.Usage == nil {
		return problem(http.StatusConflict, noLicense)
	}
	if err := a.awaitAccounts(c); err != nil {
		return err
	}
	report, err := a.services.Usage(c.toTheEnd())
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, report)
	return nil
}

// offlineRequest answers with the file of a request that is carried to the vendor of the
// license, signed by this deployment: for a license, or to give the seat of the one in
// force back.
func (a *API) offlineRequest(c *call) error {
	if a.services.License == nil {
		return problem(http.StatusConflict, noLicense)
	}
	r := license.OfflineRequest{RequestID: uuid.NewString(), Date: time.Now().UTC().Format(time.RFC3339)}
	err := expected(`the body is not what is expected: {"type": "activation", "product": "…", "customer_account_code": "…", "hosts": ["…"]} or {"type": "deactivation", "product": "…"}`,
		c.readMembers(strictjson.Fields{
			"type": text(&r.Type), "product": text(&r.Product), "customer_account_code": text(&r.Account), "hosts": texts(&r.Hosts),
		}))
	if err != nil {
		return err
	}
	if l := a.services.License.Validity().License(); r.Type == license.OfflineDeactivation && l != nil {
		r.LicenseKey = l.Payload.ID
	}
	switch {
	case r.Product == "":
		return problem(http.StatusUnprocessableEntity, "product: expected the code of a product")
	case r.Type == license.OfflineActivation && r.Account == "":
		return problem(http.StatusUnprocessableEntity, "customer_account_code: expected the code of a customer account")
	case r.Type == license.OfflineDeactivation && r.LicenseKey == "":
		return problem(http.StatusConflict, "the license in force has no id, so it takes no seat")
	case r.Type != license.OfflineActivation && r.Type != license.OfflineDeactivation:
		return problem(http.StatusUnprocessableEntity, "type: expected activation or deactivation")
	}
	known, err := a.services.License.Instance(c.toTheEnd())
	if err != nil {
		return err
	}
	file, err := known.SignOffline(r)
	if err != nil {
		return err
	}
	start(c.w, http.StatusOK, "application/json")
	_, _ = c.w.Write(file) // an error means that the caller is gone
	return nil
}

// offlineResponse installs the license of a vendor's response to a request that this
// deployment has signed.
func (a *API) offlineResponse(c *call) error {
	const action = "license.install"
	if a.services.License == nil {
		return problem(http.StatusConflict, noLicense)
	}
	var request, response jsontext.Value
	err := expected(`the body is not what is expected: {"request": {…}, "response": {…}}, the two files`, c.readMembers(strictjson.Fields{
		"request":  func(v strictjson.Value) error { request = v.JSON; return nil },
		"response": func(v strictjson.Value) error { response = v.JSON; return nil },
	}))
	if err != nil {
		return err
	}
	target := "unreadable"
	err = func() error {
		asked, _, err := license.OpenOfflineRequest(request)
		if err != nil {
			return err
		}
		known, err := a.services.License.Instance(c.toTheEnd())
		if err != nil {
			return err
		}
		if asked.HardwareID != known.Fingerprint() {
			return &license.Error{Reason: license.ReasonInstance, Field: "request.hardware_id", Detail: "is of another deployment than this one"}
		}
		answered, err := a.services.License.OpenResponse(response, asked.RequestID)
		if err != nil {
			return err
		}
		if answered.License == nil || answered.HardwareID != known.Fingerprint() {
			return &license.Error{Reason: license.ReasonForm, Field: "response", Detail: "holds no license for this deployment"}
		}
		target = cmp.Or(answered.License.Payload.ID, answered.License.Payload.Description)
		text, err := answered.License.Encode()
		if err != nil {
			return err
		}
		return a.services.License.Install(c.r.Context(), text, "")
	}()
	if err != nil {
		return a.failed(c, action, target, err)
	}
	a.audit(c, action, target)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
