package api

import (
	"encoding/base64"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
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
