package license

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// Reason names why a license is refused. The set is closed. A license is
// checked in the order form → key → signature → revocation → instance → time →
// host → feature, and the reason is the first that fails.
type Reason string

// The reasons, in the order in which they are checked.
const (
	ReasonMissing     Reason = "missing"         // there is no license
	ReasonForm        Reason = "form"            // not a license, or not one this version reads
	ReasonUnknownKey  Reason = "unknown_key"     // signed by a key that is not trusted
	ReasonRevokedKey  Reason = "revoked_key"     // signed by a key that is no longer trusted
	ReasonRetiredKey  Reason = "retired_key"     // issued after its key was retired
	ReasonSignature   Reason = "signature"       // the signature is not the key's over this payload
	ReasonRevokedID   Reason = "revoked_license" // this license has been revoked
	ReasonInstance    Reason = "instance"        // it is for another instance than this one
	ReasonNotYetValid Reason = "not_yet_valid"   // its time has not come
	ReasonExpired     Reason = "expired"         // its time and its grace are over
	ReasonHost        Reason = "host"            // it names other hosts
	ReasonFeature     Reason = "feature"         // it does not grant a feature asked for
)

// Code is the reason as clients see it: license_missing, license_invalid,
// license_revoked, license_instance, license_expired, license_not_yet_valid,
// license_host or license_feature.
func (r Reason) Code() string {
	switch r {
	case ReasonMissing, ReasonInstance, ReasonExpired, ReasonNotYetValid, ReasonHost, ReasonFeature:
		return "license_" + string(r)
	case ReasonRevokedID:
		return "license_revoked"
	}
	return "license_invalid"
}

// Error is the only error type of a refusal, whether of a license to verify or
// of a [Request] to sign. It holds nothing of a request's headers and no key.
type Error struct {
	// Reason is one of the closed set.
	Reason Reason

	// Field is the path of the member that is wrong, as in
	// "payload.allowed_hosts[2]", or of a request to sign, as in
	// "license_type". It is empty where no single member is to blame.
	Field string

	// Detail says what was found and what would be right.
	Detail string
}

// Error is the field, if any, and the detail.
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Detail
	}
	return e.Field + ": " + e.Detail
}

// Code is the reason as clients see it.
func (e *Error) Code() string { return e.Reason.Code() }

// Public is the error for anybody who asks. What exactly is wrong with a license that
// is not to be believed is for the operator alone, who finds it in the log and asks
// the API for it.
func (e *Error) Public() string {
	switch e.Code() {
	case ReasonMissing.Code():
		return "there is no license"
	case ReasonForm.Code():
		return "the license is not valid"
	case ReasonRevokedID.Code():
		return "the license has been revoked"
	case ReasonInstance.Code():
		return "the license is for another deployment"
	}
	return e.Error()
}

// Is makes errors.Is find an error by its reason alone, whatever its detail.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Detail == "" && other.Reason == e.Reason
}

// words are what is said of a license that was read and is refused: the member that is
// to blame, if one is, and the detail for operators. What is wrong with a member of one
// that cannot be read is said where the member is checked: form.go, and decode.go for
// what is no JSON of a license at all.
var words = map[Reason]struct{ field, format string }{
	ReasonMissing:     {"", "there is no license: %s"},
	ReasonUnknownKey:  {"key_id", "%s is none of the %d trusted keys; trust that key, or have the %s signed by a trusted one"},
	ReasonRevokedKey:  {"key_id", "%s has been revoked; have the %s signed again by another key"},
	ReasonRetiredKey:  {"key_id", "%s is good for %ss issued before %s only, and this one was issued on %s"},
	ReasonSignature:   {"signature", "is not the key's signature of this %s; it was changed after it was signed, or signed by another key"},
	ReasonRevokedID:   {"payload.id", "%s has been revoked; ask for a new license"},
	ReasonInstance:    {"payload.instance", "the license is for another instance than this one, whose fingerprint begins %.12s"},
	ReasonNotYetValid: {"", "the license is not valid before %s"},
	ReasonExpired:     {"", "the license ended on %s"},
	ReasonHost:        {"", "the license does not cover the host of this request"},
	ReasonFeature:     {"", "the license does not grant the feature %s"},
}

// errOtherInstance: the request of an activation was signed by another instance than it
// names.
var errOtherInstance = refuse(ReasonUnknownKey, "request.hardware_id", "is not the SHA-256 of public_key: another instance signed this request")

// UncoveredHost is the error of a license that does not cover a host which was named.
func UncoveredHost(name string) *Error {
	return refuse(ReasonHost, "", "the license does not cover the host %.255q", name)
}

// maxShownHosts bounds how many hosts an error names.
const maxShownHosts = 10

// UncoveredHosts is the error of a license that covers none of the hosts which ask for
// one.
func UncoveredHosts(names []string) *Error {
	shown := names
	if len(shown) > maxShownHosts {
		shown = append(slices.Clone(shown[:maxShownHosts]), fmt.Sprintf("and %d more", len(shown)-maxShownHosts))
	}
	return refuse(ReasonHost, "", "the license covers none of the hosts behind require_license: %s", strings.Join(shown, ", "))
}

// refusedFor is an error in the words of its reason, which args complete.
func refusedFor(reason Reason, args ...any) *Error {
	w := words[reason]
	return refuse(reason, w.field, w.format, args...)
}

func refuse(reason Reason, field, format string, args ...any) *Error {
	return &Error{Reason: reason, Field: field, Detail: fmt.Sprintf(format, args...)}
}

func badForm(field, format string, args ...any) *Error {
	return refuse(ReasonForm, field, format, args...)
}

// quote shows what was found without handing on more than a line of it.
func quote(s string) string { return strictjson.Quote(s, 80) }

// asForm words an error of the form, whoever found it.
func asForm(err error) *Error {
	var worded *Error
	if errors.As(err, &worded) {
		return worded
	}
	var e *strictjson.Error
	if !errors.As(err, &e) {
		return badForm("", "%v", err)
	}
	switch e.Problem {
	case strictjson.Incomplete:
		return badForm("", "ends before the JSON object is complete")
	case strictjson.Syntax:
		return badForm("", "not valid JSON in UTF-8 at byte %d", e.Offset)
	case strictjson.Trailing:
		return badForm("", "something follows the license; want a single JSON object")
	case strictjson.Repeated:
		return badForm(e.Path, "stands there twice; want each member once")
	case strictjson.Unknown:
		return badForm(e.Path, "has the unknown member %s; want %s", quote(e.Found), e.Want)
	case strictjson.Missing:
		return badForm(e.Path, "is missing; a license must have it")
	case strictjson.TooMany:
		return badForm(e.Path, "has more than %s entries; want at most %s", e.Want, e.Want)
	}
	return badForm(e.Path, "is %s; want %s", e.Found, e.Want)
}
