package api

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// instance is how a deployment is known to the vendor of its license.
type instance struct {
	Fingerprint string `json:"fingerprint"`
	PublicKey   string `json:"public_key"` // SubjectPublicKeyInfo (RFC 5280) in base64
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
	writeJSON(c.w, http.StatusOK, instance{known.Fingerprint(), base64.StdEncoding.EncodeToString(known.Public())})
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

// room refuses changes that make more service accounts than the license is for, if it
// says so.
func (a *API) room(changes []account.Change) error {
	if a.services.Room == nil {
		return nil
	}
	more := 0
	for i := range changes {
		if changes[i].Op != account.Create && changes[i].Op != account.Upsert {
			continue
		}
		if _, err := a.services.Accounts.Find(changes[i].Draft.Issuer, changes[i].Draft.Subject); err != nil {
			more++
		}
	}
	return a.services.Room(more)
}
