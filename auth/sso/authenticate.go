package sso

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Request is what a Service is asked.
type Request struct {
	// Header is the request's header; only Authorization and Date are read.
	Header http.Header

	// RawQuery is the query as it was sent, without the question mark.
	RawQuery string

	// Authenticate judges a caller who does not come with an HMAC: by the bearer
	// token of the Authorization header, and where there is no such header by
	// whatever else the caller of Answer trusts. It runs at most once. To answer
	// nil lets in. A refusal has one of the codes CodeInvalidToken,
	// CodeInsufficientScope, CodeTemporarilyUnavailable and CodeInvalidHeaders;
	// any other becomes the first, and every refusal of a caller without the
	// header becomes CodeMissingHeaders. A nil func refuses all.
	Authenticate func(ctx context.Context) *Refusal
}

// caller is who was let in.
type caller struct {
	credential *credential // nil: not by HMAC, and free to ask for all
	limited    bool        // over the credential's rate limit
}

// admit decides who is asking.
func (s *Service) admit(ctx context.Context, r Request) (caller, *Refusal) {
	fields := r.Header.Values("Authorization")
	switch {
	case strings.Join(fields, "") == "":
		return caller{}, s.admitUnnamed(ctx, r)
	case len(fields) == 1 && hasBearerScheme(fields[0]):
		return caller{}, authenticate(ctx, r)
	}
	return s.admitSigned(fields, r.Header.Values("Date"))
}

// admitUnnamed lets in who needs no Authorization.
func (s *Service) admitUnnamed(ctx context.Context, r Request) *Refusal {
	if r.Authenticate != nil && r.Authenticate(ctx) == nil {
		return nil
	}
	if strings.Join(r.Header.Values("Date"), "") == "" {
		return missingHeaders("Authorization, Date")
	}
	return missingHeaders("Authorization")
}

func missingHeaders(names string) *Refusal {
	return refuse(CodeMissingHeaders, "Some headers are missing: "+names)
}

// authenticate has the bearer token judged.
func authenticate(ctx context.Context, r Request) *Refusal {
	if r.Authenticate == nil {
		return errInvalidToken
	}
	verdict := r.Authenticate(ctx)
	if verdict == nil {
		return nil
	}
	switch verdict.Code {
	case CodeInvalidToken, CodeInsufficientScope, CodeTemporarilyUnavailable, CodeInvalidHeaders:
		return verdict
	}
	closed := *verdict
	closed.Code = CodeInvalidToken
	return &closed
}

// admitSigned checks an HMAC. The order of the checks is that of the codes.
func (s *Service) admitSigned(fields, dates []string) (caller, *Refusal) {
	if strings.Join(dates, "") == "" {
		return caller{}, missingHeaders("Date")
	}
	if len(fields) > 1 {
		return caller{}, errUnreadable
	}
	parts, ok := parseParts(fields[0])
	if !ok {
		return caller{}, errUnreadable
	}
	if missing := missingParts(parts); len(missing) > 0 {
		return caller{}, refuse(CodeMissingParams, "Some parameters are missing in the authorization: "+strings.Join(missing, ", "))
	}
	now := s.now()
	switch {
	case !strings.EqualFold(parts[partHeaders], signedHeaders):
		return caller{}, errWrongHeaders
	case !strings.EqualFold(parts[partAlgorithm], hmacAlgorithm):
		return caller{}, errNotHMAC
	case len(dates) > 1 || !isRecent(dates[0], now, s.maxSkew):
		return caller{}, s.dateDiff
	}
	return s.admitKey(parts[partAPIKey], dates[0], parts[partSignature], now)
}

// admitKey checks the key and its signature, and counts who has signed rightly.
func (s *Service) admitKey(apiKey, date, signature string, now time.Time) (caller, *Refusal) {
	known, ok := s.credentials[apiKey]
	switch {
	case !ok:
		return caller{}, errUnknownKey
	case known.disabled:
		return caller{}, errRevokedKey
	case !signatureFits(known.key, date, signature):
		return caller{}, errSignature
	}
	limited := known.limiter != nil && !known.limiter.AllowN(now, 1)
	return caller{credential: known, limited: limited}, nil
}
