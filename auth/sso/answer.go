package sso

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	randomBytes = 16 // 128 bits

	// limitedFor is when a credential over its limit is answered again: limits
	// are counted by the second.
	limitedFor = time.Second
)

// Answer answers a request. It never fails: whatever is wrong with the request
// is a refusal. It waits for the provider's metadata, 5 seconds at most, only
// where none was ever had.
func (s *Service) Answer(ctx context.Context, r Request) Response {
	who, refusal := s.admit(ctx, r)
	if refusal != nil {
		return Refused(refusal)
	}
	wanted, refusal := s.accept(r.RawQuery, who)
	if refusal != nil {
		return wanted.label(Refused(refusal))
	}
	address, err := wanted.address(ctx, s.random)
	if err != nil {
		return wanted.label(Refused(unavailable(err)))
	}
	answer, err := s.success(address)
	if err != nil {
		return wanted.label(Refused(unavailable(err)))
	}
	return wanted.label(answer)
}

func unavailable(cause error) *Refusal {
	return &Refusal{
		Code:    CodeInternal,
		Message: "The address of the login page cannot be had at the moment",
		Cause:   cause,
	}
}

// login is an ask that is allowed, with the account it is about.
type login struct {
	ask
	account *account
}

// label adds for metrics what is known of the request.
func (l login) label(r Response) Response {
	r.ResponseType = l.responseType
	return r
}

// accept checks what is asked for. The order of the checks is that of the codes,
// so the account is looked at before it is known whether the product exists.
func (s *Service) accept(rawQuery string, who caller) (login, *Refusal) {
	wanted, refusal := parseAsk(rawQuery)
	if refusal != nil {
		return login{}, refusal
	}
	l := login{ask: wanted}
	if who.credential.maySee(wanted.account) { // else it is as if there were none
		l.account = s.accounts[wanted.account]
	}
	if refusal := l.settle(); refusal != nil {
		return l, refusal
	}
	switch {
	case !slices.Contains(s.products, l.product):
		return l, errProduct
	case !who.credential.mayUse(l.product):
		return l, errKeyProduct
	case l.account == nil || !l.account.has(l.product):
		return l, errAccount
	case who.limited:
		return l, &Refusal{Code: CodeRateLimited, Message: "Too many requests with this API key", RetryAfter: limitedFor}
	}
	return l, nil
}

// settle fills in what the request left to the account, and holds the rest
// against it.
func (l *login) settle() *Refusal {
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
func (l login) address(ctx context.Context, random func() string) (string, error) {
	endpoint, err := l.account.endpoint.get(ctx)
	if err != nil {
		return "", err
	}
	for _, text := range []*string{&l.state, &l.nonce} {
		if *text == "" {
			*text = random()
		}
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
