package activation

import (
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// The types of licenses that the API knows and that are handed out here.
const (
	typeSubscription = "subscription" // it is renewed by checks
	typeTimeLimited  = "time-limited" // it ends for good
)

// described is what is answered about an activation. Members of the License API that
// mean nothing here are absent.
type described struct {
	ID               string           `json:"id"`
	LicenseKey       string           `json:"license_key"`
	LicenseSignature string           `json:"license_signature,omitzero"`
	LicenseType      string           `json:"license_type"`
	Active           bool             `json:"license_active"`
	Enabled          bool             `json:"license_enabled"`
	Expired          bool             `json:"is_expired"`
	Trial            bool             `json:"is_trial"`
	Offline          bool             `json:"is_offline_activated"`
	Validity         string           `json:"validity_period"`
	Maintenance      string           `json:"maintenance_period,omitzero"`
	Start            string           `json:"start_date"`
	MaxActivations   int              `json:"max_activations"` // 0: any number
	TimesActivated   int              `json:"times_activated"`
	Product          productDetails   `json:"product_details"`
	Features         []productFeature `json:"product_features,omitzero"`
	Customer         customer         `json:"customer"`
	Metadata         metadata         `json:"metadata"`

	// License is the license itself.
	License *license.License `json:"license,omitzero"`
}

type productDetails struct {
	Name      string `json:"product_name"`
	ShortCode string `json:"short_code"`
}

type productFeature struct {
	Code string `json:"code"`
	Name string `json:"name"`
	Type string `json:"feature_type"`
}

type customer struct {
	Reference string `json:"reference"`
	Email     string `json:"email,omitzero"`
}

// metadata are ours.
type metadata struct {
	Grace      int64  `json:"gatehouse_grace"`       // seconds
	CheckAfter string `json:"gatehouse_check_after"` // when to ask again
}

// deactivated is the answer to a deactivation.
type deactivated struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Active  bool   `json:"license_active"`
}

// describe says what there is to say about a seat, but for the license itself.
func (s *Service) describe(t *terms, taken taken, signed *license.License) (d described, err error) {
	seat := taken.seat
	d = described{
		ID: seat.ID.String(), LicenseKey: seat.ID.String(), LicenseType: typeSubscription,
		Active: true, Enabled: true, Trial: t.Trial > 0, Offline: seat.Offline,
		Validity: date(signed.Payload.ExpireAt), Start: date(seat.Created),
		MaxActivations: t.Seats, TimesActivated: taken.count,
		Product:  productDetails{seat.Product, seat.Product},
		Customer: customer{seat.Account, seat.Email},
		Metadata: metadata{int64(t.Grace / time.Second), t.checkAfter(seat).UTC().Format(time.RFC3339)},
	}
	if d.Trial {
		d.LicenseType = typeTimeLimited
	}
	if !t.Until.IsZero() {
		d.Maintenance = date(t.Until.Unix())
	}
	for _, name := range signed.Payload.Features {
		d.Features = append(d.Features, productFeature{name, name, "activation"})
	}
	d.LicenseSignature, err = s.sso.SignText(signatureText(seat.Name, d.LicenseKey, d.Validity))
	return d, err
}

// signatureText is what license_signature is over. The API's public documents do not
// say it in one place; clients that check it do so over the three values in lower case.
func signatureText(hardwareID, licenseKey, validity string) string {
	return strings.ToLower(hardwareID + "#" + licenseKey + "#" + validity)
}

func date(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
