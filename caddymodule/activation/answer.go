package activation

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
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
	ID               string `json:"id"`
	LicenseKey       string `json:"license_key"`
	LicenseSignature string `json:"license_signature,omitzero"`
	LicenseType      string `json:"license_type"`
	Active           bool   `json:"license_active"`
	Enabled          bool   `json:"license_enabled"`
	Expired          bool   `json:"is_expired"`
	Trial            bool   `json:"is_trial"`
	Offline          bool   `json:"is_offline_activated"`
	Validity         string `json:"validity_period"`
	Maintenance      string `json:"maintenance_period,omitzero"`
	Start            string `json:"start_date"`
	MaxActivations   int    `json:"max_activations"` // 0: any number
	TimesActivated   int    `json:"times_activated"`
	Product          struct {
		Name      string `json:"product_name"`
		ShortCode string `json:"short_code"`
	} `json:"product_details"`
	Features []struct {
		Code string `json:"code"`
		Name string `json:"name"`
		Type string `json:"feature_type"`
	} `json:"product_features,omitzero"`
	Customer struct {
		Reference string `json:"reference"`
		Email     string `json:"email,omitzero"`
	} `json:"customer"`
	Metadata struct { // ours
		Grace      int64  `json:"gatehouse_grace"`       // seconds
		CheckAfter string `json:"gatehouse_check_after"` // when to ask again
	} `json:"metadata"`

	// License is the license itself.
	License *license.License `json:"license,omitzero"`
}

// describe says what there is to say about a seat, but for the license itself.
func (s *Service) describe(t *Terms, taken taken, signed *license.License) (d described, err error) {
	seat := taken.seat
	d = described{
		ID: seat.ID.String(), LicenseKey: seat.ID.String(), LicenseType: typeSubscription,
		Active: true, Enabled: true, Trial: t.Trial > 0, Offline: seat.Offline,
		Validity: date(signed.Payload.ExpireAt), Start: date(seat.Created),
		MaxActivations: t.Seats, TimesActivated: taken.count,
	}
	d.Product.Name, d.Product.ShortCode = seat.Product, seat.Product
	d.Customer.Reference, d.Customer.Email = seat.Account, seat.Email
	d.Metadata.Grace = int64(t.Grace / time.Second)
	d.Metadata.CheckAfter = time.Unix(seat.Expires, 0).Add(-t.Valid / 3).UTC().Format(time.RFC3339) // well before the license ends
	if d.Trial {
		d.LicenseType = typeTimeLimited
	}
	if !t.Until.IsZero() {
		d.Maintenance = date(t.Until.Unix())
	}
	d.Features = slices.Grow(d.Features, len(signed.Payload.Features))[:len(signed.Payload.Features)]
	for i, name := range signed.Payload.Features {
		d.Features[i].Code, d.Features[i].Name, d.Features[i].Type = name, name, "activation"
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

// The refusals that are always worded the same.
var (
	errNotEnabled  = refuse(sso.CodeLicenseNotEnabled, "No licenses are handed out for this customer account")
	errNoKey       = &sso.Refusal{Code: sso.CodeTemporarilyUnavailable, Message: "There is no key to sign licenses with at the moment", RetryAfter: time.Minute}
	errNotAllowed  = refuse(sso.CodeUserNotAllowed, "This person may not activate licenses of the customer account")
	errNotFound    = refuse(sso.CodeLicenseNotFound, "There is no activation with that license_key for the product")
	errDevice      = refuse(sso.CodeDeviceNotFound, "The activation is of another hardware_id")
	errNotActive   = refuse(sso.CodeLicenseNotActive, "The activation was not checked in time and its seat is free: activate again")
	errUsed        = refuse(sso.CodeIDTokenUsed, "This login was used already: log in again")
	errRequestUsed = refuse(sso.CodeOfflineRequestUsed, "This request was answered already: make a new one")
	errContract    = refuse(sso.CodeLicenseExpired, "The contract of the customer account is over")
	errTrial       = refuse(sso.CodeTrialExpired, "The trial of the customer account is over")
	errNoSeat      = refuse(sso.CodeActivatedMaxTimes, "All seats of the customer account are taken: deactivate another instance first")
	errNoOwnSeat   = refuse(sso.CodeActivatedMaxTimes, "This person has all seats that one person may have: deactivate another instance first")
	errHosts       = refuse(sso.CodeHostsNotAllowed, "A host is not among those of the customer account")
)

func refuse(code sso.Code, message string) *sso.Refusal {
	return &sso.Refusal{Code: code, Message: message}
}

func invalid(what string) *sso.Refusal {
	return refuse(sso.CodeValidation, "Validation failed: "+what)
}
