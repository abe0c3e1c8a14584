package sso

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// signatureHeader carries the signature of a body.
const signatureHeader = "LicenseSignature"

// resultOK is the label of an answer that is no refusal.
const resultOK = "ok"

// Response is what to answer, to be written as it is.
type Response struct {
	// Status is the HTTP status.
	Status int

	// Header has all headers but Content-Length.
	Header http.Header

	// Body is compact JSON without a final newline; with a signature, exactly
	// the bytes that are signed.
	Body []byte

	// ResponseType is ResponseTypeCode or ResponseTypeToken, and empty where the
	// request was refused before it was known.
	ResponseType string

	// Refusal is why there is no address; nil where there is one. It is shared by
	// answers and must not be changed.
	Refusal *Refusal
}

// Result is a label for metrics and logs, of a closed set: "ok", or the
// refusal's code.
func (r Response) Result() string {
	if r.Refusal == nil {
		return resultOK
	}
	return string(r.Refusal.Code)
}

func newResponse(status int, body any) (Response, error) {
	data, err := json.Marshal(body)
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	return Response{Status: status, Header: header, Body: data}, err
}

// success answers with a body, signed if there is a key to sign with.
func (s *Service) success(body any) (Response, error) {
	answer, err := newResponse(http.StatusOK, body)
	if err != nil {
		return Response{}, fmt.Errorf("encoding the answer: %w", err)
	}
	signature, err := s.SignText(string(answer.Body))
	if err != nil {
		return Response{}, err
	}
	if signature != "" {
		answer.Header.Set(signatureHeader, signature)
	}
	return answer, nil
}

// Refused is the answer to a request that is refused.
func Refused(r *Refusal) Response {
	status := r.Code.Status()
	answer, err := newResponse(status, struct {
		Status  int    `json:"status"`
		Code    Code   `json:"code"`
		Message string `json:"message"`
	}{status, r.Code, r.Message})
	if err != nil { // a caller's message that is not UTF-8
		return Refused(&Refusal{Code: r.Code, Message: http.StatusText(status), Cause: r.Cause})
	}
	answer.Refusal = r
	switch {
	case r.Challenge != "":
		answer.Header.Set("WWW-Authenticate", r.Challenge)
	case status == http.StatusUnauthorized: // which must name a scheme: RFC 9110, section 15.5.2
		answer.Header.Set("WWW-Authenticate", "Bearer")
	}
	if r.RetryAfter > 0 {
		seconds := (r.RetryAfter + time.Second - 1) / time.Second
		answer.Header.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	return answer
}

// Code is the stable name of a refusal, the `code` of its body.
type Code string

// The codes, in the order in which they are checked.
const (
	CodeMissingHeaders         Code = "missing_headers"
	CodeMissingParams          Code = "authorization_missing_params"
	CodeInvalidHeaders         Code = "authorization_invalid_headers"
	CodeHMACRequired           Code = "hmac_required"
	CodeDateDiff               Code = "date_header_diff"
	CodeInvalidAPIKey          Code = "invalid_api_key"
	CodeRevokedAPIKey          Code = "revoked_api_key"
	CodeSignatureMismatch      Code = "signature_mismatch"
	CodeMissingParameters      Code = "missing_parameters"
	CodeValidation             Code = "validation_error"
	CodeUnknownProduct         Code = "unknown_product"
	CodeAPIKeyProduct          Code = "api_key_product_not_allowed"
	CodeAccountNotFound        Code = "customer_account_not_found"
	CodeRateLimited            Code = "rate_limited"
	CodeInternal               Code = "internal_error"
	CodeInvalidToken           Code = "invalid_token"
	CodeInsufficientScope      Code = "insufficient_scope"
	CodeTemporarilyUnavailable Code = "temporarily_unavailable"
	CodeNotFound               Code = "not_found"
	CodeMethodNotAllowed       Code = "method_not_allowed"
)

// The codes of what is asked for a license only, in the order in which they are checked.
const (
	CodeMissingContent        Code = "missing_content"
	CodeInvalidJSON           Code = "invalid_json"
	CodeInvalidOfflineRequest Code = "invalid_offline_request"
	CodeLicenseNotEnabled     Code = "license_not_enabled"
	CodeLicenseNotFound       Code = "license_not_found"
	CodeDeviceNotFound        Code = "device_not_found"
	CodeLicenseNotActive      Code = "license_not_active"
	CodeHostsNotAllowed       Code = "hosts_not_allowed"
	CodeInvalidCode           Code = "invalid_code"
	CodeInvalidIDToken        Code = "invalid_id_token"
	CodeUserNotAllowed        Code = "user_not_allowed"
	CodeIDTokenUsed           Code = "id_token_used"
	CodeOfflineRequestUsed    Code = "offline_request_used"
	CodeLicenseExpired        Code = "license_expired"
	CodeTrialExpired          Code = "trial_expired"
	CodeActivatedMaxTimes     Code = "license_activated_max_times"
)

// statuses are the HTTP statuses of the codes that have another than 400.
var statuses = map[Code]int{
	CodeSignatureMismatch:      http.StatusUnauthorized,
	CodeRateLimited:            http.StatusTooManyRequests,
	CodeInternal:               http.StatusInternalServerError,
	CodeInvalidToken:           http.StatusUnauthorized,
	CodeInsufficientScope:      http.StatusForbidden,
	CodeTemporarilyUnavailable: http.StatusServiceUnavailable,
	CodeNotFound:               http.StatusNotFound,
	CodeMethodNotAllowed:       http.StatusMethodNotAllowed,
	CodeUserNotAllowed:         http.StatusForbidden,
}

// Codes lists every code. Last are those for bearer tokens only, and then those
// that a request for an address never gets.
var Codes = []Code{
	CodeMissingHeaders, CodeMissingParams, CodeInvalidHeaders, CodeHMACRequired, CodeDateDiff,
	CodeInvalidAPIKey, CodeRevokedAPIKey, CodeSignatureMismatch, CodeMissingParameters, CodeValidation,
	CodeUnknownProduct, CodeAPIKeyProduct, CodeAccountNotFound, CodeRateLimited, CodeInternal,
	CodeInvalidToken, CodeInsufficientScope, CodeTemporarilyUnavailable,
	CodeNotFound, CodeMethodNotAllowed,
}

// LicenseCodes lists the codes of requests for a license that requests for an address
// never get.
var LicenseCodes = []Code{
	CodeMissingContent, CodeInvalidJSON, CodeInvalidOfflineRequest, CodeLicenseNotEnabled, CodeLicenseNotFound,
	CodeDeviceNotFound, CodeLicenseNotActive, CodeHostsNotAllowed, CodeInvalidCode, CodeInvalidIDToken,
	CodeUserNotAllowed, CodeIDTokenUsed, CodeOfflineRequestUsed, CodeLicenseExpired, CodeTrialExpired,
	CodeActivatedMaxTimes,
}

// Status is the HTTP status that goes with the code: 400 unless the table of
// codes says otherwise.
func (c Code) Status() int {
	if status, other := statuses[c]; other {
		return status
	}
	return http.StatusBadRequest
}

// Refusal says why a request is not answered with an address. It holds nothing
// that the request brought.
type Refusal struct {
	// Code is one of the constants; its status is the answer's.
	Code Code

	// Message is one sentence for the caller.
	Message string

	// Challenge is the WWW-Authenticate header of the answer. Empty: "Bearer"
	// where the status is 401, none elsewhere.
	Challenge string

	// RetryAfter is when to ask again, rounded up to seconds. Zero: not said.
	RetryAfter time.Duration

	// Cause is for the operator's log, never for the caller; nil mostly.
	Cause error
}

// Error is the message for the caller.
func (r *Refusal) Error() string { return r.Message }

// Unwrap is the cause, nil if there is none.
func (r *Refusal) Unwrap() error { return r.Cause }

func refuse(code Code, message string) *Refusal {
	return &Refusal{Code: code, Message: message}
}

func invalid(what string) *Refusal { return refuse(CodeValidation, "Validation failed: "+what) }

// The refusals that are always worded the same.
var (
	errUnreadable = refuse(CodeInvalidHeaders,
		`The authorization cannot be read: it must be algorithm="hmac-sha256",headers="date",signature="<base64>",apikey="<key>", or a bearer token`)
	errWrongHeaders  = refuse(CodeInvalidHeaders, `Invalid headers value in the authorization: it must be headers="date"`)
	errNotHMAC       = refuse(CodeHMACRequired, "The algorithm of the authorization must be hmac-sha256")
	errUnknownKey    = refuse(CodeInvalidAPIKey, "Provided API key is not valid")
	errRevokedKey    = refuse(CodeRevokedAPIKey, "Provided API key is revoked")
	errSignature     = refuse(CodeSignatureMismatch, "Signature mismatch")
	errProduct       = refuse(CodeUnknownProduct, "Provided product was not found")
	errKeyProduct    = refuse(CodeAPIKeyProduct, "Provided API key is not allowed for this product")
	errAccount       = refuse(CodeAccountNotFound, "Provided customer account was not found")
	errInvalidToken  = refuse(CodeInvalidToken, "The bearer token is not accepted")
	errLimited       = &Refusal{Code: CodeRateLimited, Message: "Too many requests with this API key", RetryAfter: limitedFor}
	errImplicitIsOff = invalid("response_type token is not allowed for this customer account: use code")
	errRedirect      = invalid("redirect_uri is not on the list of this customer account")
)
