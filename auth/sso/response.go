package sso

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
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

// success answers with the address, signed if there is a key to sign with.
func (s *Service) success(address string) (Response, error) {
	answer, err := newResponse(http.StatusOK, struct {
		URL string `json:"url"`
	}{address})
	if err != nil {
		return Response{}, fmt.Errorf("encoding the answer: %w", err)
	}
	if s.signingKey == nil {
		return answer, nil
	}
	digest := sha256.Sum256(answer.Body)
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.signingKey, crypto.SHA256, digest[:])
	if err != nil {
		return Response{}, errors.New("signing the answer failed") // the cause is about the key
	}
	answer.Header.Set(signatureHeader, base64.StdEncoding.EncodeToString(signature))
	return answer, nil
}

// Refused words a refusal.
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
