package sso

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

const (
	maxIDToken = 16 << 10
	// clockLeeway is how far the provider's clock may be off.
	clockLeeway = time.Minute
)

// Provider is what an account's issuer tells of itself. *issuer.Engine is one.
type Provider interface {
	MetadataSource
	issuer.Keys
}

// Login is what a person's login brought, for one product of an account: exactly one
// of an ID token and a code.
type Login struct {
	Product, Account string

	IDToken string

	// Code is exchanged at the provider's token endpoint (RFC 6749, section 4.1.3).
	// RedirectURI is that of the login; empty: the account's first. Verifier is that of
	// the code challenge (RFC 7636, section 4.5); empty: there was none.
	Code, RedirectURI, Verifier string
}

// Identity is a person who logged in to an account just now.
type Identity struct {
	// Subject is the provider's name for the person.
	Subject string

	// Email is the person's, if the provider says that it was verified; else empty.
	Email string

	// Once names the login: it must count once only. It is 64 hexadecimal digits.
	Once string

	// Until is when the login does not count any more, whether it was used or not.
	Until time.Time

	claims jose.Object
}

// HasOne tells whether a claim is one of the values, or a list that has one.
func (i *Identity) HasOne(claim string, values []string) bool {
	list, ok := i.claims.List(claim)
	return ok && slices.ContainsFunc(list, func(has string) bool { return slices.Contains(values, has) })
}

// Identify tells who logged in. The ID token must be signed by the account's issuer,
// meant for its client and of a login that was begun here not long ago (OpenID Connect
// Core 1.0, section 3.1.3.7). Whether that login was used before is for the caller to
// know: see [Identity.Once].
func (s *Service) Identify(ctx context.Context, l Login) (*Identity, *Refusal) {
	account := s.accounts[l.Account]
	if account == nil || account.provider == nil {
		return nil, errAccount
	}
	known, err := account.provider.Metadata(ctx)
	if err != nil {
		return nil, unavailable("The provider of this customer account cannot be asked at the moment", err)
	}
	token := l.IDToken
	if l.Code != "" {
		var refusal *Refusal
		if token, refusal = s.exchange(ctx, account, known.TokenEndpoint, l); refusal != nil {
			return nil, refusal
		}
	}
	claims, refusal := account.openIDToken(ctx, token)
	if refusal != nil {
		return nil, refusal
	}
	return s.identity(l, account, known.Issuer, claims)
}

// openIDToken verifies the token's signature, and gives its claims.
func (a *account) openIDToken(ctx context.Context, token string) (jose.Object, *Refusal) {
	if len(token) > maxIDToken {
		return nil, badToken("is longer than 16 KiB")
	}
	var parts jose.Compact
	var reader jose.Reader
	if !parts.Decode([]byte(token)) {
		return nil, badToken("is not a signed JWT")
	}
	header, err := reader.Read(parts.Header, nil)
	if err != nil {
		return nil, badToken("has a header that cannot be read")
	}
	hint, ok := readHint(header)
	if !ok {
		return nil, badToken("has a header that is not accepted")
	}
	if !slices.Contains(jose.Algorithms, hint.Algorithm) {
		return nil, badToken("is signed by an algorithm that is not accepted")
	}
	if refusal := a.checkSignature(ctx, hint, parts); refusal != nil {
		return nil, refusal
	}
	claims, err := reader.Read(parts.Payload, nil)
	if err != nil {
		return nil, badToken("has claims that cannot be read")
	}
	return claims, nil
}

// readHint reads what a header says of the key. What it calls critical is not known
// here (RFC 7515, section 4.1.11).
func readHint(header jose.Object) (hint issuer.Hint, ok bool) {
	algorithm, ok1 := header.Text("alg")
	kid, ok2 := header.Text("kid")
	if _, critical := header.Get("crit"); critical || !ok1 || !ok2 {
		return hint, false
	}
	_, hint.HasKeyID = header.Get("kid")
	hint.Algorithm, hint.KeyID = string(algorithm), string(kid)
	return hint, true
}

func (a *account) checkSignature(ctx context.Context, hint issuer.Hint, parts jose.Compact) *Refusal {
	_, _, err := issuer.FindSigner(ctx, a.provider, hint, func(keys []*issuer.Key) (*issuer.Key, error) {
		return issuer.SignedBy(keys, hint, parts), nil
	})
	switch {
	case errors.Is(err, issuer.ErrWrongSignature), errors.Is(err, issuer.ErrUnknownKey):
		return badToken("is not signed by a key of the customer account's provider")
	case err != nil:
		return unavailable("The keys of this customer account's provider cannot be had at the moment", err)
	}
	return nil
}

// identity holds the claims against the account.
func (s *Service) identity(l Login, a *account, issuer string, claims jose.Object) (*Identity, *Refusal) {
	if text(claims, "iss") != issuer {
		return nil, badToken("is of another issuer than the customer account's")
	}
	if refusal := a.checkAudience(claims); refusal != nil {
		return nil, refusal
	}
	now := s.now()
	begun, ok := s.nonces.begun(l.Product, l.Account, text(claims, paramNonce))
	switch {
	case !ok:
		return nil, badToken("has no nonce of a login that was begun here for this product and customer account: ask sso_url for the address first")
	case now.Sub(begun) > LoginTime || begun.Sub(now) > clockLeeway:
		return nil, badToken("is of a login that was begun more than 15 minutes ago: log in again")
	}
	if refusal := checkTimes(claims, now, begun); refusal != nil {
		return nil, refusal
	}
	i := &Identity{Subject: text(claims, "sub"), Until: begun.Add(LoginTime + 2*clockLeeway), claims: claims}
	if i.Subject == "" || len(i.Subject) > maxSubject || !isPlain(i.Subject) {
		return nil, badToken("names no person: it needs a claim sub of at most 255 bytes")
	}
	if email := text(claims, "email"); len(email) <= maxEmail && isPlain(email) && isTrue(claims, "email_verified") {
		i.Email = email
	}
	once := sha256.Sum256([]byte(text(claims, paramNonce)))
	i.Once = hex.EncodeToString(once[:])
	return i, nil
}

const (
	maxSubject = 255 // OpenID Connect Core 1.0, section 2
	maxEmail   = 254 // RFC 5321
)

// checkAudience wants the token to be for the account's client.
func (a *account) checkAudience(claims jose.Object) *Refusal {
	audience, ok := claims.List("aud")
	if !ok || !slices.Contains(audience, a.clientID) {
		return badToken("is for another client than the customer account's")
	}
	_, named := claims.Get("azp")
	switch party := text(claims, "azp"); {
	case named && party != a.clientID:
		return badToken("was issued to another client than the customer account's")
	case !named && len(audience) > 1:
		return badToken("is for several audiences and does not say to whom it was issued (azp)")
	}
	return nil
}

// checkTimes wants a token that is good now, and that was not there before the login
// began.
func checkTimes(claims jose.Object, now, begun time.Time) *Refusal {
	leeway := clockLeeway.Seconds()
	at := float64(now.UnixMilli()) / 1000
	expiry, hasExpiry := number(claims, "exp")
	issued, hasIssued := number(claims, "iat")
	before, hasBefore := number(claims, "nbf")
	_, saysBefore := claims.Get("nbf")
	switch {
	case !hasExpiry || !hasIssued || saysBefore != hasBefore:
		return badToken("lacks a time: it needs exp and iat, in seconds")
	case at >= expiry+leeway:
		return badToken("has expired")
	case issued > at+leeway || hasBefore && before > at+leeway:
		return badToken("begins in the future")
	case issued < float64(begun.Unix())-leeway:
		return badToken("was issued before the login began")
	}
	return nil
}

// text is a claim that is a text; empty if it is none.
func text(claims jose.Object, name string) string {
	value, _ := claims.Text(name)
	return string(value)
}

func number(claims jose.Object, name string) (n float64, ok bool) {
	value, found := claims.Get(name)
	if !found || value.Kind() != '0' || json.Unmarshal(value, &n) != nil {
		return 0, false
	}
	return n, !math.IsInf(n, 0) && !math.IsNaN(n)
}

// isTrue takes the text, too, which some providers write.
func isTrue(claims jose.Object, name string) bool {
	value, _ := claims.Get(name)
	return value.Kind() == 't' || text(claims, name) == "true"
}

func badToken(what string) *Refusal { return refuse(CodeInvalidIDToken, "The ID token "+what) }

// retryUnavailable is when to ask again where a provider or storage was not to be had.
const retryUnavailable = 5 * time.Second

func unavailable(message string, cause error) *Refusal {
	return &Refusal{Code: CodeTemporarilyUnavailable, Message: message, RetryAfter: retryUnavailable, Cause: cause}
}

// isPlain tells whether a text may stand in a record and a log.
func isPlain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

const (
	exchangeTime = 10 * time.Second
	// maxExchanges bounds the codes that are exchanged at a time.
	maxExchanges = 32
)

// exchange gives the ID token that a code stands for (OpenID Connect Core 1.0, section
// 3.1.3). Errors hold nothing that the provider sent but its status and the code of
// its error.
func (s *Service) exchange(ctx context.Context, a *account, endpoint string, l Login) (string, *Refusal) {
	redirect, listed := a.redirectTo(l.RedirectURI)
	switch {
	case !listed:
		return "", errRedirect
	case endpoint == "":
		return "", unavailable("The provider of this customer account takes no codes: use id_token", errNoTokenEndpoint)
	}
	select {
	case s.exchanges <- struct{}{}:
		defer func() { <-s.exchanges }()
	default:
		return "", unavailable("Too many logins at the moment", nil)
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, a.http), exchangeTime)
	defer cancel()
	config := oauth2.Config{
		ClientID:     a.clientID,
		ClientSecret: a.clientSecret.text(),
		Endpoint:     oauth2.Endpoint{TokenURL: endpoint, AuthStyle: oauth2.AuthStyleInParams},
		RedirectURL:  redirect,
	}
	if config.ClientSecret != "" { // which every server takes so: RFC 6749, section 2.3.1
		config.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	var options []oauth2.AuthCodeOption
	if l.Verifier != "" {
		options = append(options, oauth2.VerifierOption(l.Verifier))
	}
	answer, err := config.Exchange(ctx, l.Code, options...)
	if err != nil {
		return "", exchangeRefusal(err)
	}
	token, ok := answer.Extra("id_token").(string)
	if !ok || token == "" {
		return "", refuse(CodeInvalidCode, "The provider answered the code without an ID token: ask for the scope openid")
	}
	return token, nil
}

var errNoTokenEndpoint = errors.New("the issuer's metadata has no token_endpoint")

// exchangeRefusal tells a code that is not good from a provider that is not, and from
// an account that is configured wrongly.
func exchangeRefusal(err error) *Refusal {
	answered, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !ok:
		return unavailable("The provider of this customer account cannot be asked at the moment", errors.New("the token endpoint gave no valid answer"))
	case answered.ErrorCode == "invalid_grant" || answered.ErrorCode == "invalid_request":
		return refuse(CodeInvalidCode, "The code is not accepted by the provider: it was used, is too old, or belongs to another redirect_uri, client or code_verifier")
	}
	status := answered.Response.StatusCode
	cause := fmt.Errorf("the token endpoint answered with status %d", status)
	if status == http.StatusUnauthorized || answered.ErrorCode == "invalid_client" || answered.ErrorCode == "unauthorized_client" {
		cause = fmt.Errorf("%w: it does not accept client_id and client_secret of the account", cause)
	}
	return unavailable("The provider of this customer account does not answer the code at the moment", cause)
}
