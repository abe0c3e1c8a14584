package activation

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// How old an offline request may be, as it is carried, and how far the clock of its
// instance may be off.
const (
	offlineTime  = 7 * 24 * time.Hour
	offlineAhead = 15 * time.Minute
)

// readOffline reads the file of an instance without a network, and what was sent along.
func readOffline(op Operation, contentType string, body []byte, now time.Time) (*ask, *sso.Refusal) {
	file, form, refusal := offlineFile(contentType, body)
	if refusal != nil {
		return nil, refusal
	}
	if len(bytes.TrimSpace(file)) == 0 {
		return nil, refuse(sso.CodeMissingContent, "The request file is missing or empty")
	}
	if file = bytes.TrimSpace(file); file[0] != '{' {
		decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(file)), ""))
		if err != nil {
			return nil, refuse(sso.CodeInvalidJSON, "The request file is neither JSON nor the base64 of it")
		}
		file = decoded
	}
	r, login, err := license.OpenOfflineRequest(file)
	if err != nil {
		return nil, refuse(sso.CodeInvalidOfflineRequest, "The request file is not accepted: "+fault(err))
	}
	for _, field := range []struct {
		name string
		into *string
	}{{"id_token", &login.IDToken}, {"code", &login.Code}, {"code_verifier", &login.CodeVerifier}, {"redirect_uri", &login.RedirectURI}} {
		switch value := form[field.name]; {
		case value == "":
		case *field.into != "":
			return nil, invalid(field.name + " stands in the request file and beside it: give one")
		default:
			*field.into = value
		}
	}
	a := &ask{
		product: r.Product, account: r.Account, hardwareID: r.HardwareID, hosts: r.Hosts, requestID: r.RequestID,
		idToken: login.IDToken, code: login.Code, verifier: login.CodeVerifier, redirect: login.RedirectURI,
	}
	return a, a.completeOffline(op, r, now)
}

// fault names the member that is wrong, and what is right, but nothing that was found:
// the file may hold a token.
func fault(err error) string {
	wrong, ok := errors.AsType[*license.Error](err)
	switch {
	case !ok:
		return "it is not one of Gatehouse's"
	case wrong.Reason == license.ReasonForm:
		return "it is not the JSON object of a request, its key and its signature"
	}
	return wrong.Error()
}

func (a *ask) completeOffline(op Operation, r license.OfflineRequest, now time.Time) *sso.Refusal {
	want := license.OfflineActivation
	if op == DeactivateOffline {
		want = license.OfflineDeactivation
	}
	id, err := uuid.Parse(r.RequestID)
	date, wrong := time.Parse(time.RFC3339, r.Date)
	switch {
	case r.Type != want:
		return refuse(sso.CodeInvalidOfflineRequest, "The request file asks for something else: expected an "+want)
	case err != nil || id.String() != r.RequestID:
		return refuse(sso.CodeInvalidOfflineRequest, "The request file has a request_id that is no UUID")
	case wrong != nil || now.Sub(date) > offlineTime || date.Sub(now) > offlineAhead:
		return refuse(sso.CodeInvalidOfflineRequest, "The request file was made more than 7 days ago, or in the future: make a new one")
	}
	a.requested = date
	if op == DeactivateOffline {
		if refusal := missing([]string{"product", "license_key"}, map[string]*string{"product": &a.product, "license_key": &r.LicenseKey}); refusal != nil {
			return refusal
		}
		return a.complete(r.LicenseKey)
	}
	if refusal := missing([]string{"product", "customer_account_code"}, map[string]*string{"product": &a.product, "customer_account_code": &a.account}); refusal != nil {
		return refusal
	}
	if refusal := a.checkLogin(); refusal != nil {
		return refusal
	}
	return a.checkTexts()
}

// requestUsed is what is remembered of an offline request for as long as it would be
// taken.
func (a *ask) requestUsed() *Record {
	return &Record{
		What: requests, Account: a.hardwareID, Product: a.product, Name: a.requestID,
		Ends: a.requested.Add(offlineTime + offlineAhead).Unix(),
	}
}

// offlineFile takes the file, and the fields beside it, out of a body: of a form with
// the file as its part `file`, or else the body is the file.
func offlineFile(contentType string, body []byte) (file []byte, form map[string]string, refusal *sso.Refusal) {
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "multipart/form-data" {
		return body, nil, nil
	}
	form = map[string]string{}
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for parts := 0; ; parts++ {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return file, form, nil
		}
		if err != nil || parts == maxParts {
			return nil, nil, refuse(sso.CodeMissingContent, "The form cannot be read")
		}
		data, err := io.ReadAll(part) // no more than the body
		name := part.FormName()
		_, again := form[name]
		switch {
		case err != nil:
			return nil, nil, refuse(sso.CodeMissingContent, "The form cannot be read")
		case again || name == "file" && file != nil:
			return nil, nil, invalid("a field of the form is given more than once")
		case name == "file":
			file = append([]byte{}, data...)
		case slices.Contains([]string{"id_token", "code", "code_verifier", "redirect_uri"}, name):
			form[name] = string(data)
		default:
			return nil, nil, invalid("a field of the form is unknown: accepted are file, id_token, code, code_verifier, redirect_uri")
		}
	}
}

const maxParts = 8

// signOffline makes the file that is carried back.
func (s *Service) signOffline(r license.OfflineResponse) (any, *sso.Refusal) {
	file, err := s.signer.SignOfflineResponse(r)
	if err != nil {
		return nil, &sso.Refusal{Code: sso.CodeInternal, Message: "The response file cannot be signed", Cause: err}
	}
	return jsontext.Value(bytes.TrimSpace(file)), nil
}
