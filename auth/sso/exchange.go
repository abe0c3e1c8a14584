package sso

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2"
)

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
