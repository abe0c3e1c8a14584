package sso

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
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

// login is what a request's query asks for. Optional parameters are empty where
// they are absent.
type login struct {
	product, code string
	account       *account // of this code; nil: there is none that the caller may see
	responseType  string
	redirect      string
	state, nonce  string
	challenge     string
}

// challengeS256 is the one method of RFC 7636, section 4.2, that hides the
// verifier, and challengeBytes is what it makes.
const (
	challengeS256  = "S256"
	challengeBytes = 43
)

// parseQuery reads the query and checks all that can be checked without knowing
// the account.
func parseQuery(rawQuery string) (login, *Refusal) {
	if len(rawQuery) > maxQueryBytes {
		return login{}, invalid("the query is longer than 16 KiB")
	}
	values, err := url.ParseQuery(rawQuery) // keeps what it could read
	var missing []string
	for _, name := range []string{paramProduct, paramAccount} {
		if strings.Join(values[name], "") == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return login{}, refuse(CodeMissingParameters, "Some parameters are missing: "+strings.Join(missing, ", "))
	}
	if err != nil {
		return login{}, invalid("the query is not percent-encoded as name=value, joined by &")
	}
	if refusal := checkValues(values); refusal != nil {
		return login{}, refusal
	}
	l := login{
		product:      values.Get(paramProduct),
		code:         values.Get(paramAccount),
		responseType: values.Get(paramResponseType),
		redirect:     values.Get(paramRedirect),
		state:        values.Get(paramState),
		nonce:        values.Get(paramNonce),
		challenge:    values.Get(paramChallenge),
	}
	return l, checkChallenge(values)
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
	case len(challenge) != challengeBytes || !isName(challenge):
		return invalid("code_challenge must be the SHA-256 of the verifier in base64url: 43 characters")
	}
	return nil
}

const (
	randomBytes = 16 // 128 bits

	// limitedFor is when a credential over its limit is answered again: limits
	// are counted by the second.
	limitedFor = time.Second
)

// Answer answers a request. It never fails: whatever is wrong with the request
// is a refusal. It waits for the provider's metadata, 5 seconds at most, only
// if none was ever known.
func (s *Service) Answer(ctx context.Context, r Request) Response {
	caller, refusal := s.Admit(ctx, r)
	if refusal != nil {
		return Refused(refusal)
	}
	var answer Response
	wanted, refusal := s.accept(r.RawQuery, caller)
	if refusal == nil {
		address, err := wanted.address(ctx, s)
		if err == nil {
			answer, err = s.success(struct {
				URL string `json:"url"`
			}{address})
		}
		if err != nil {
			refusal = &Refusal{Code: CodeInternal, Message: "The address of the login page cannot be had at the moment", Cause: err}
		}
	}
	if refusal != nil {
		answer = Refused(refusal)
	}
	answer.ResponseType = wanted.responseType
	return answer
}

// accept checks what is asked for. The order of the checks is that of the codes,
// so the account is looked at before it is known whether the product exists.
func (s *Service) accept(rawQuery string, c *Caller) (login, *Refusal) {
	l, refusal := parseQuery(rawQuery)
	if refusal != nil {
		return login{}, refusal
	}
	if allows(c.who.accounts, l.code) { // else it is as if there were none
		l.account = s.accounts[l.code]
	}
	if refusal := l.complete(); refusal != nil {
		return l, refusal
	}
	switch {
	case !slices.Contains(s.products, l.product):
		return l, errProduct
	case !allows(c.who.products, l.product):
		return l, errKeyProduct
	case l.account == nil || !allows(l.account.products, l.product):
		return l, errAccount
	case c.limited:
		return l, errLimited
	}
	return l, nil
}

// complete fills in what the request left to the account, and checks the rest
// against it.
func (l *login) complete() *Refusal {
	if l.account == nil {
		return nil
	}
	if l.responseType == "" {
		l.responseType = l.account.responseType
	}
	if l.responseType == ResponseTypeToken && l.account.implicit == "" {
		return errImplicitIsOff
	}
	address, listed := l.account.redirectTo(l.redirect)
	if !listed {
		return errRedirect
	}
	l.redirect = address
	return nil
}

// address is the authorization request to the provider.
func (l login) address(ctx context.Context, s *Service) (string, error) {
	endpoint, err := l.account.endpoint.get(ctx)
	if err != nil {
		return "", err
	}
	if l.state == "" {
		l.state = s.random()
	}
	switch {
	case l.account.activates && len(s.nonces.key) > 0:
		l.nonce = s.nonces.make(l.product, l.code, l.nonce, s.random(), s.now())
	case l.nonce == "":
		l.nonce = s.random()
	}
	config := oauth2.Config{
		ClientID:    l.account.clientID,
		Endpoint:    oauth2.Endpoint{AuthURL: endpoint},
		RedirectURL: l.redirect,
		Scopes:      l.account.scopes,
	}
	full := config.AuthCodeURL(l.state, l.options()...)
	// oauth2 writes a blank as +, which only a form knows; a + itself is %2B.
	return endpoint + strings.ReplaceAll(full[len(endpoint):], "+", "%20"), nil
}

// options are the parameters that oauth2 does not set itself.
func (l login) options() []oauth2.AuthCodeOption {
	options := []oauth2.AuthCodeOption{oauth2.SetAuthURLParam(paramNonce, l.nonce)}
	if l.responseType == ResponseTypeToken {
		options = append(options, oauth2.SetAuthURLParam(paramResponseType, l.account.implicit))
	}
	if l.challenge != "" {
		options = append(options,
			oauth2.SetAuthURLParam(paramChallenge, l.challenge),
			oauth2.SetAuthURLParam(paramChallengeMethod, challengeS256))
	}
	for name, value := range l.account.params {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	return options
}

// randomText is 128 random bits in base64url.
func randomText() string {
	var b [randomBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

const (
	// LoginTime is how long a login may take: from the address that was handed out
	// to the license that is asked for.
	LoginTime = 15 * time.Minute

	minNonceKey = 32 // bytes
	nonceMAC    = 16 // bytes
	nonceStamp  = 8  // bytes
	nonceRandom = 22 // characters of randomText

	nonceLabel = "gatehouse-sso-nonce/v1\n"
)

// nonces makes and knows the nonces of logins that are begun here (OpenID Connect
// Core 1.0, section 3.1.2.1). Nothing is kept of them: a nonce is
//
//	[<the client's own>.]<128 random bits><time><MAC>
//
// and the MAC covers all of that, the account and the product. So an ID token with
// such a nonce comes from a login that was begun here, for that account and that
// product, and not long ago.
type nonces struct{ key []byte }

// make gives a nonce; own is the client's, empty if it has none.
func (n nonces) make(product, account, own, random string, now time.Time) string {
	var stamp [nonceStamp]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(now.Unix()))
	text := random + base64.RawURLEncoding.EncodeToString(append(stamp[:], n.mac(product, account, own, random, stamp)...))
	if own == "" {
		return text
	}
	return own + "." + text
}

// begun tells when a login began, by its nonce; not ok if the nonce is not of here, or
// of another account or product.
func (n nonces) begun(product, account, nonce string) (at time.Time, ok bool) {
	own, text := "", nonce
	if dot := strings.LastIndexByte(nonce, '.'); dot >= 0 {
		own, text = nonce[:dot], nonce[dot+1:]
	}
	if len(n.key) == 0 || len(text) < nonceRandom {
		return at, false
	}
	random := text[:nonceRandom]
	rest, err := base64.RawURLEncoding.Strict().DecodeString(text[nonceRandom:])
	if err != nil || len(rest) != nonceStamp+nonceMAC {
		return at, false
	}
	stamp := [nonceStamp]byte(rest)
	if !hmac.Equal(rest[nonceStamp:], n.mac(product, account, own, random, stamp)) {
		return at, false
	}
	return time.Unix(int64(binary.BigEndian.Uint64(stamp[:])), 0), true
}

func (n nonces) mac(product, account, own, random string, stamp [nonceStamp]byte) []byte {
	mac := hmac.New(sha256.New, n.key)
	mac.Write([]byte(nonceLabel))
	for _, part := range []string{product, account, own, random, string(stamp[:])} {
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)[:nonceMAC]
}
