package sso

import (
	"net/url"
	"slices"
	"strings"
)

const (
	// maxQueryBytes bounds a request's query.
	maxQueryBytes = 16 << 10
	// maxValueBytes bounds one parameter, so that the address that is answered
	// is one that browsers and providers take.
	maxValueBytes = 2 << 10
)

// The parameters of a request.
const (
	paramProduct         = "product"
	paramAccount         = "customer_account_code"
	paramResponseType    = "response_type"
	paramRedirect        = "redirect_uri"
	paramState           = "state"
	paramNonce           = "nonce"
	paramChallenge       = "code_challenge"
	paramChallengeMethod = "code_challenge_method"
)

var acceptedParams = []string{
	paramProduct, paramAccount, paramResponseType, paramRedirect,
	paramState, paramNonce, paramChallenge, paramChallengeMethod,
}

// ask is what a request's query asks for. Optional parameters are empty where
// they are absent.
type ask struct {
	product, account string
	responseType     string
	redirect         string
	state, nonce     string
	challenge        string
}

// challengeS256 is the one method of RFC 7636, section 4.2, that hides the
// verifier, and challengeBytes is what it makes.
const (
	challengeS256  = "S256"
	challengeBytes = 43
)

// parseAsk reads the query and checks all that can be checked without knowing
// the account.
func parseAsk(rawQuery string) (ask, *Refusal) {
	if len(rawQuery) > maxQueryBytes {
		return ask{}, invalid("the query is longer than 16 KiB")
	}
	values, err := url.ParseQuery(rawQuery) // keeps what it could read
	if missing := missingParams(values); len(missing) > 0 {
		return ask{}, refuse(CodeMissingParameters, "Some parameters are missing: "+strings.Join(missing, ", "))
	}
	if err != nil {
		return ask{}, invalid("the query is not percent-encoded as name=value, joined by &")
	}
	if refusal := checkValues(values); refusal != nil {
		return ask{}, refusal
	}
	a := ask{
		product:      values.Get(paramProduct),
		account:      values.Get(paramAccount),
		responseType: values.Get(paramResponseType),
		redirect:     values.Get(paramRedirect),
		state:        values.Get(paramState),
		nonce:        values.Get(paramNonce),
		challenge:    values.Get(paramChallenge),
	}
	return a, checkChallenge(values)
}

func missingParams(values url.Values) []string {
	var missing []string
	for _, name := range []string{paramProduct, paramAccount} {
		if !slices.ContainsFunc(values[name], func(v string) bool { return v != "" }) {
			missing = append(missing, name)
		}
	}
	return missing
}

// checkValues refuses what is repeated, unknown, empty or too long. It names
// parameters, never their values, and of unknown ones not even the name.
func checkValues(values url.Values) *Refusal {
	known := 0
	for _, name := range acceptedParams {
		given := values[name]
		switch {
		case len(given) == 0:
			continue
		case len(given) > 1:
			return invalid(name + " is given more than once")
		case given[0] == "":
			return invalid(name + " is empty: give a value, or leave it out")
		case len(given[0]) > maxValueBytes:
			return invalid(name + " is longer than 2048 bytes")
		}
		known++
	}
	if known != len(values) {
		return invalid("a parameter is unknown: accepted are " + strings.Join(acceptedParams, ", "))
	}
	switch values.Get(paramResponseType) {
	case "", ResponseTypeCode, ResponseTypeToken:
		return nil
	}
	return invalid("response_type must be code or token")
}

// checkChallenge takes a code challenge (RFC 7636, section 4.3) of the method
// S256 only.
func checkChallenge(values url.Values) *Refusal {
	challenge, method := values.Get(paramChallenge), values.Get(paramChallengeMethod)
	switch {
	case challenge == "" && method == "":
		return nil
	case method != challengeS256:
		return invalid("code_challenge goes with code_challenge_method=S256")
	case len(challenge) != challengeBytes || !isBase64URL(challenge):
		return invalid("code_challenge must be the SHA-256 of the verifier in base64url: 43 characters")
	}
	return nil
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}
