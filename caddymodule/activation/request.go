package activation

import (
	"bytes"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// Bounds of requests, in bytes.
const (
	// MaxBody is the greatest size of a body.
	MaxBody = 64 << 10

	maxHardwareID = 256
	maxText       = 2 << 10 // redirect_uri, code
	maxCode       = 256     // of a product or an account
	maxIDToken    = 16 << 10
)

// ask is what a request asks for. What it does not say is empty.
type ask struct {
	product, account, hardwareID string
	idToken                      string
	code, redirect, verifier     string
	hosts                        []string
	licenseKey                   uuid.UUID

	requestID string // of an offline request
	requested time.Time
}

// facts are what clients of the API say of themselves. They are accepted, and decide
// nothing.
var facts = []string{
	"app_ver", "bundle_code", "env", "hostname", "include_expired_features", "ip", "ip_local", "is_vm", "license_id",
	"mac_address", "os_hostname", "os_ver", "sdk_ver", "variables", "vm_info",
}

// readJSON reads the body of an activation or a deactivation.
func readJSON(op Operation, body []byte) (*ask, *sso.Refusal) {
	a := &ask{}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, refuse(sso.CodeMissingParameters, "Some parameters are missing: the body is empty")
	}
	object, err := strictjson.Parse(body)
	if err != nil {
		return nil, unreadable(err)
	}
	fields, licenseKey := strictjson.Fields{}, ""
	for _, name := range facts {
		fields[name] = func(strictjson.Value) error { return nil }
	}
	texts := map[string]*string{"product": &a.product, "hardware_id": &a.hardwareID}
	required := []string{"product", "hardware_id"}
	if op == Deactivate {
		texts["license_key"] = &licenseKey
		required = append(required, "license_key")
	} else {
		texts["customer_account_code"], texts["id_token"], texts["code"] = &a.account, &a.idToken, &a.code
		texts["redirect_uri"], texts["code_verifier"] = &a.redirect, &a.verifier
		fields["hosts"] = func(v strictjson.Value) error { return readHosts(v, &a.hosts) }
		required = append(required, "customer_account_code")
	}
	for name, into := range texts {
		fields[name] = func(v strictjson.Value) (err error) {
			*into, err = v.Text()
			return err
		}
	}
	for name, read := range fields {
		fields[name] = func(v strictjson.Value) error { // null counts as left out
			if v.JSON.Kind() == 'n' {
				return nil
			}
			return read(v)
		}
	}
	if err := object.Read(fields); err != nil {
		return nil, unreadable(err)
	}
	if refusal := missing(required, texts); refusal != nil {
		return nil, refusal
	}
	if op == Deactivate {
		return a, a.complete(licenseKey)
	}
	if refusal := a.checkLogin(); refusal != nil {
		return nil, refusal
	}
	return a, a.checkTexts()
}

// readHosts reads a list of host patterns.
func readHosts(v strictjson.Value, into *[]string) error {
	list, err := v.Elements(maxHosts, "a list of hosts")
	if err != nil {
		return err
	}
	*into = make([]string, len(list))
	for i, element := range list {
		if (*into)[i], err = element.Text(); err != nil {
			return err
		}
	}
	return nil
}

// unreadable words what is wrong with a body, and repeats nothing of it.
func unreadable(err error) *sso.Refusal {
	wrong, ok := errors.AsType[*strictjson.Error](err)
	if !ok {
		return refuse(sso.CodeInvalidJSON, "The body is not valid JSON")
	}
	switch wrong.Problem {
	case strictjson.Incomplete, strictjson.Syntax, strictjson.Trailing:
		return refuse(sso.CodeInvalidJSON, "The body is not one valid JSON object")
	case strictjson.Repeated:
		return refuse(sso.CodeInvalidJSON, "The body has a member twice")
	case strictjson.Unknown:
		return invalid("a member is unknown, or not of this request")
	case strictjson.TooMany:
		return invalid(wrong.Path + " has too many entries")
	}
	if wrong.Path == "" {
		return refuse(sso.CodeInvalidJSON, "The body must be a JSON object")
	}
	return invalid(wrong.Path + " must be " + wrong.Want)
}

// missing names required members that are absent or empty.
func missing(required []string, texts map[string]*string) *sso.Refusal {
	required = slices.DeleteFunc(slices.Clone(required), func(name string) bool { return *texts[name] != "" })
	if len(required) == 0 {
		return nil
	}
	return refuse(sso.CodeMissingParameters, "Some parameters are missing: "+strings.Join(required, ", "))
}

// readQuery reads the query of a check.
func readQuery(raw string) (*ask, *sso.Refusal) {
	if len(raw) > MaxBody {
		return nil, invalid("the query is too long")
	}
	values, err := url.ParseQuery(raw) // keeps what it could read
	a, licenseKey := &ask{product: values.Get("product"), hardwareID: values.Get("hardware_id")}, values.Get("license_key")
	required := []string{"product", "hardware_id", "license_key"}
	refusal := missing(required, map[string]*string{"product": &a.product, "hardware_id": &a.hardwareID, "license_key": &licenseKey})
	if refusal != nil {
		return nil, refusal
	}
	if err != nil {
		return nil, invalid("the query is not percent-encoded as name=value, joined by &")
	}
	for name, given := range values {
		if !slices.Contains(required, name) && !slices.Contains(facts, name) {
			return nil, invalid("a parameter is unknown: accepted are " + strings.Join(required, ", "))
		}
		if len(given) > 1 {
			return nil, invalid("a parameter is given more than once")
		}
	}
	return a, a.complete(licenseKey)
}

// complete checks what a request about a seat says.
func (a *ask) complete(licenseKey string) (refusal *sso.Refusal) {
	if refusal := a.checkTexts(); refusal != nil {
		return refusal
	}
	id, err := uuid.Parse(licenseKey)
	if err != nil || id.String() != licenseKey {
		return errNotFound
	}
	a.licenseKey = id
	return nil
}

// checkLogin wants exactly one of id_token and code.
func (a *ask) checkLogin() *sso.Refusal {
	switch {
	case a.idToken == "" && a.code == "":
		return refuse(sso.CodeMissingParameters, "Some parameters are missing: id_token or code")
	case a.idToken != "" && a.code != "":
		return invalid("id_token and code are both given: give one")
	case a.code == "" && (a.verifier != "" || a.redirect != ""):
		return invalid("code_verifier and redirect_uri go with code")
	case len(a.code) > maxText || strings.ContainsFunc(a.code, func(r rune) bool { return r <= ' ' || r > '~' }):
		return invalid("code must be 1 to 2048 visible ASCII characters")
	case a.verifier != "" && !verifierForm.MatchString(a.verifier):
		return invalid("code_verifier must be 43 to 128 letters, digits, and - . _ ~")
	case len(a.redirect) > maxText:
		return invalid("redirect_uri is longer than 2048 bytes")
	case len(a.idToken) > maxIDToken:
		return invalid("id_token is longer than 16 KiB")
	}
	return nil
}

// verifierForm is that of RFC 7636, section 4.1.
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// checkTexts wants texts that are no longer than those of anybody, and can be shown.
func (a *ask) checkTexts() *sso.Refusal {
	for _, text := range []struct {
		name, value string
		most        int
	}{{"product", a.product, maxCode}, {"customer_account_code", a.account, maxCode}, {"hardware_id", a.hardwareID, maxHardwareID}} {
		if len(text.value) > text.most {
			return invalid(text.name + " is longer than 256 bytes")
		}
		if !utf8.ValidString(text.value) || strings.ContainsFunc(text.value, unicode.IsControl) {
			return invalid(text.name + " must be text without control characters")
		}
	}
	return nil
}
