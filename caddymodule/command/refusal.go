package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// refusal is an answer that is not a good one.
type refusal struct {
	status  int
	code    string // of the SSO route; empty elsewhere
	message string
	hint    string // what to do about it; may be empty
}

// Error is the status, the server's own words, and a hint.
func (r *refusal) Error() string {
	text := fmt.Sprintf("HTTP %d %s", r.status, http.StatusText(r.status))
	for _, more := range []string{r.code, r.message} {
		if more != "" {
			text += ": " + more
		}
	}
	if r.hint != "" {
		text += "\n" + r.hint
	}
	return text
}

const (
	maxProblem = 64 << 10 // of the body of an error that is read, in bytes
	maxMessage = 2000     // of a message that is shown, in bytes
)

// refused reads what the server says about an error. Gatehouse says it in
// message, Caddy itself in error.
func (s *server) refused(resp *http.Response) error {
	var said struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Caddy   string `json:"error"`
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	ours := json.Unmarshal(body, &said) == nil && said.Message != ""
	r := &refusal{status: resp.StatusCode, code: s.tame(said.Code), message: s.tame(said.Message)}
	if !ours {
		r.message = s.tame(said.Caddy)
	}
	r.hint = s.hint(resp, ours)
	return r
}

// tame makes words of the server fit to be shown: bounded, without control
// characters, and without the token, should they hold it.
func (s *server) tame(text string) string {
	for _, secret := range []string{s.token.text, s.explained} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(the token)")
		}
	}
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return plain(oneLine(text))
}

func (s *server) hint(resp *http.Response, ours bool) string {
	switch status := resp.StatusCode; {
	case status == http.StatusNotFound && !ours:
		return "Is Gatehouse built into the Caddy at " + s.place + ", and configured?"
	case status < http.StatusBadRequest:
		return s.place + " sends requests elsewhere; name the right address with --address"
	case resp.Header.Get("Retry-After") != "":
		return "Try again in " + plain(clip(resp.Header.Get("Retry-After"))) + " s"
	case !ours:
		return ""
	case status != http.StatusUnauthorized && status != http.StatusForbidden:
		return ""
	case s.token.text == "":
		return "No token was sent: give one with --token-file FILE or in " + tokenVariable
	case status == http.StatusUnauthorized:
		return fmt.Sprintf("The %v is not accepted: give a good one with --token-file FILE or in %s", s.token, tokenVariable)
	}
	return fmt.Sprintf("The %v may not do this: give one of the group that may with --token-file FILE or in %s", s.token, tokenVariable)
}

// isStatus tells whether an error is the server's answer with that status.
func isStatus(err error, status int) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == status
}

// isDialError tells whether nobody could even be reached.
func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
