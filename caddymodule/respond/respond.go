// Package respond answers requests that are refused, as those who sent them can read it:
// with a JSON body, or in gRPC's own way.
package respond

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// ErrorBodies are the values of the option error_body.
var ErrorBodies = parse.Choice{JSONBody, NoBody}

// JSONBody answers by [JSON], and NoBody leaves the body to handle_errors.
const (
	JSONBody = "json"
	NoBody   = "none"
)

// JSON answers with {"message": "…", "code": "…"}; an empty code is left out.
func JSON(w http.ResponseWriter, status int, message, code string) error {
	body, err := json.Marshal(struct {
		Message string `json:"message"`
		Code    string `json:"code,omitempty"`
	}{message, code})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}

// IsGRPC reports whether a request is a gRPC call: POST over HTTP/2 or 3 with exactly such
// a content type. The content type alone, which any client may send with anything, must
// not turn a refusal into status 200.
func IsGRPC(r *http.Request) bool {
	contentType := r.Header["Content-Type"]
	return r.Method == http.MethodPost && r.ProtoMajor >= 2 && len(contentType) == 1 && BaseType(contentType[0]) == "application/grpc"
}

// IsGRPCWeb reports whether a request is a call of grpc-web. Its refusal keeps the HTTP
// status.
func IsGRPCWeb(r *http.Request) bool {
	const prefix = "application/grpc-web"
	contentType := r.Header["Content-Type"]
	return r.Method == http.MethodPost && len(contentType) == 1 &&
		len(contentType[0]) >= len(prefix) && strings.EqualFold(contentType[0][:len(prefix)], prefix)
}

// BaseType is the media type of a content type, without parameters and suffix.
func BaseType(contentType string) string {
	mediaType, _, _ := strings.Cut(contentType, ";")
	base, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(mediaType)), "+")
	return base
}

// GRPC answers as a gRPC server does: with status 200, and the gRPC status among the
// headers, as there is no body (a "trailers-only" response).
func GRPC(w http.ResponseWriter, r *http.Request, refusal *auth.Refusal) error {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	SetGRPCStatus(w.Header(), "", refusal)
	w.WriteHeader(http.StatusOK)
	return nil
}

// SetGRPCStatus sets the headers of the gRPC status, whose names begin with prefix.
func SetGRPCStatus(header http.Header, prefix string, refusal *auth.Refusal) {
	code, message := GRPCStatus(refusal)
	header.Set(prefix+"Grpc-Status", strconv.Itoa(code))
	header.Set(prefix+"Grpc-Message", message)
}

// GRPCStatus is a refusal as gRPC has it: a status code, and a message in which the
// percent sign and what is not printable ASCII are percent-encoded.
func GRPCStatus(refusal *auth.Refusal) (code int, message string) {
	const invalidArgument, permissionDenied, unavailable, unauthenticated = 3, 7, 14, 16
	code = unauthenticated
	switch refusal.Status {
	case http.StatusBadRequest:
		code = invalidArgument
	case http.StatusForbidden:
		code = permissionDenied
	case http.StatusServiceUnavailable:
		code = unavailable
	}
	var encoded strings.Builder
	for i := range len(refusal.Message) {
		if c := refusal.Message[i]; c >= ' ' && c <= '~' && c != '%' {
			encoded.WriteByte(c)
			continue
		}
		fmt.Fprintf(&encoded, "%%%02X", refusal.Message[i])
	}
	return code, encoded.String()
}
