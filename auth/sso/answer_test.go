package sso

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	revokedKey = "revoked-key"
	narrowKey  = "narrow-key"
)

// guarded has a revoked key, and one for a product, an account and a request a
// second only.
func guarded(cfg *Config) {
	free := testAccount()
	free.Code = "free"
	bound := testAccount()
	bound.Code, bound.Products = "bound", []string{"other"}
	codeOnly := testAccount()
	codeOnly.Code, codeOnly.NoImplicitFlow, codeOnly.ResponseType = "code-only", true, ResponseTypeCode
	cfg.Accounts = append(cfg.Accounts, free, bound, codeOnly)
	cfg.Credentials = append(cfg.Credentials,
		Credential{APIKey: revokedKey, SharedKey: NewSecret(testShared), Disabled: true},
		Credential{APIKey: narrowKey, SharedKey: NewSecret(testShared), Products: []string{"app"}, Accounts: []string{"acme"}, RateLimit: 1},
	)
}

// by has another key sign.
func by(apiKey, query string) Request {
	r := signed(query)
	r.Header.Set("Authorization", authorization(apiKey, Sign(NewSecret(testShared), r.Header.Get("Date"))))
	return r
}

// without leaves a header out.
func without(name string) Request {
	r := signed(askAcme)
	r.Header.Del(name)
	return r
}

// saying puts another Authorization in.
func saying(field string) Request {
	r := signed(askAcme)
	r.Header.Set("Authorization", field)
	return r
}

// TestRows has each refusal alone, with its message where clients know it.
func TestRows(t *testing.T) {
	s := service(t, guarded)
	for _, c := range []struct {
		name    string
		request Request
		code    Code
		message string // the beginning
	}{
		{"no Authorization", without("Authorization"), CodeMissingHeaders, "Some headers are missing: Authorization"},
		{"no Date", without("Date"), CodeMissingHeaders, "Some headers are missing: Date"},
		{"neither", Request{RawQuery: askAcme}, CodeMissingHeaders, "Some headers are missing: Authorization, Date"},
		{"one part", saying(`algorithm="hmac-sha256"`), CodeMissingParams, "Some parameters are missing in the authorization: headers, signature, apikey"},
		{"an empty part", saying(authorization("", "x")), CodeMissingParams, "Some parameters are missing in the authorization: apikey"},
		{"other headers", saying(strings.Replace(authorization(testKey, "x"), `"date"`, `"host"`, 1)), CodeInvalidHeaders, "Invalid headers value"},
		{"more headers", saying(strings.Replace(authorization(testKey, "x"), `"date"`, `"date host"`, 1)), CodeInvalidHeaders, "Invalid headers value"},
		{"unreadable", saying("x"), CodeInvalidHeaders, "The authorization cannot be read"},
		{"another algorithm", saying(strings.Replace(authorization(testKey, "x"), "sha256", "sha1", 1)), CodeHMACRequired, ""},
		{"unknown key", by("nobody", askAcme), CodeInvalidAPIKey, ""},
		{"key in another case", by(strings.ToUpper(testKey), askAcme), CodeInvalidAPIKey, ""},
		{"revoked key", by(revokedKey, askAcme), CodeRevokedAPIKey, ""},
		{"wrong signature", saying(authorization(testKey, "x")), CodeSignatureMismatch, "Signature mismatch"},
		{"no query", signed(""), CodeMissingParameters, "Some parameters are missing: product, customer_account_code"},
		{"no product", signed("customer_account_code=acme"), CodeMissingParameters, "Some parameters are missing: product"},
		{"empty product", signed("product=&customer_account_code=acme"), CodeMissingParameters, "Some parameters are missing: product"},
		{"empty account", signed("product=app&customer_account_code="), CodeMissingParameters, "Some parameters are missing: customer_account_code"},
		{"product in another case", signed("Product=app&customer_account_code=acme"), CodeMissingParameters, ""},
		{"repeated", signed(query("product", "app")), CodeValidation, "Validation failed: product is given more than once"},
		{"unknown parameter", signed(query("license", "x")), CodeValidation, "Validation failed: a parameter is unknown"},
		{"response type", signed(query("response_type", "id_token")), CodeValidation, "Validation failed: response_type must be"},
		{"implicit flow off", signed("product=app&customer_account_code=code-only&response_type=token"), CodeValidation, "Validation failed: response_type token"},
		{"redirect", signed(query("redirect_uri", "https://evil.example")), CodeValidation, "Validation failed: redirect_uri is not"},
		{"unknown product", signed("product=nothing&customer_account_code=acme"), CodeUnknownProduct, "Provided product was not found"},
		{"product of other keys", by(narrowKey, "product=other&customer_account_code=acme"), CodeAPIKeyProduct, ""},
		{"unknown account", signed("product=app&customer_account_code=nobody"), CodeAccountNotFound, ""},
		{"account in another case", signed("product=app&customer_account_code=ACME"), CodeAccountNotFound, ""},
		{"account of another product", signed("product=app&customer_account_code=bound"), CodeAccountNotFound, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := wantCode(t, s, c.request, c.code)
			if answer.Refusal != nil && !strings.HasPrefix(answer.Refusal.Message, c.message) {
				t.Errorf("message %q, want %q", answer.Refusal.Message, c.message)
			}
		})
	}
	wantURL(t, s, signed("product=other&customer_account_code=bound"))
}

// TestOrder begins with a request that breaks all that can be broken together,
// and repairs it step by step: each time the first fault left is reported.
func TestOrder(t *testing.T) {
	at := newClock()
	source := &fakeSource{err: errors.New("down")}
	s := service(t, guarded, func(cfg *Config) {
		cfg.Now = at.now
		cfg.Accounts[0].AuthorizationEndpoint, cfg.Accounts[0].Metadata = "", source
	})
	var r Request
	header := http.Header{}
	r.Header = header
	field := func(algorithm, headers, key, signature string) func() {
		return func() {
			header.Set("Authorization", `algorithm="`+algorithm+`",headers="`+headers+`",apikey="`+key+`",signature="`+signature+`"`)
		}
	}
	asking := func(query string) func() { return func() { r.RawQuery = query } }
	date := testTime.Format(http.TimeFormat)
	for _, step := range []struct {
		repair func()
		want   Code // empty: an address
	}{
		{func() {}, CodeMissingHeaders},
		{field("md5", "host", "", "x"), CodeMissingHeaders},
		{func() { header.Set("Date", "yesterday") }, CodeMissingParams},
		{field("md5", "host", "nobody", "x"), CodeInvalidHeaders},
		{field("md5", "date", "nobody", "x"), CodeHMACRequired},
		{field("hmac-sha256", "date", "nobody", "x"), CodeDateDiff},
		{func() { header.Set("Date", date) }, CodeInvalidAPIKey},
		{field("hmac-sha256", "date", revokedKey, "x"), CodeRevokedAPIKey},
		{field("hmac-sha256", "date", narrowKey, "x"), CodeSignatureMismatch},
		{field("hmac-sha256", "date", narrowKey, Sign(NewSecret(testShared), date)), CodeMissingParameters},
		{asking("product=nothing&response_type=x&redirect_uri=https://evil.example"), CodeMissingParameters},
		{asking("product=nothing&customer_account_code=acme&response_type=x&redirect_uri=https://evil.example"), CodeValidation},
		{asking("product=nothing&customer_account_code=acme&redirect_uri=https://evil.example"), CodeValidation},
		{asking("product=nothing&customer_account_code=nobody"), CodeUnknownProduct},
		{asking("product=other&customer_account_code=nobody"), CodeAPIKeyProduct},
		{asking("product=app&customer_account_code=nobody"), CodeAccountNotFound},
		{asking(askAcme), CodeRateLimited},
		{func() { at.advance(time.Second) }, CodeInternal},
		{func() { at.advance(time.Second); source.set("https://login.acme.example/a", nil) }, ""},
	} {
		step.repair()
		if step.want == "" {
			wantURL(t, s, r)
			continue
		}
		wantCode(t, s, r, step.want)
	}
}

// TestKeyLimits: what a key may not see looks as if it were not there.
func TestKeyLimits(t *testing.T) {
	s := service(t, guarded, func(cfg *Config) { cfg.Credentials[2].RateLimit = 0 })
	wantURL(t, s, by(narrowKey, askAcme))
	hidden := s.Answer(t.Context(), by(narrowKey, "product=app&customer_account_code=free&redirect_uri=https://evil.example"))
	absent := s.Answer(t.Context(), by(narrowKey, "product=app&customer_account_code=none&redirect_uri=https://evil.example"))
	if check(t, hidden).Code != CodeAccountNotFound || string(hidden.Body) != string(absent.Body) {
		t.Errorf("hidden %s, absent %s", hidden.Body, absent.Body)
	}
	wantURL(t, s, signed("product=other&customer_account_code=free"))
}

// bearer is a request with a token that is judged so.
func bearer(verdict *Refusal) Request {
	return Request{
		Header:       http.Header{"Authorization": {"Bearer abc"}},
		RawQuery:     askAcme,
		Authenticate: func(context.Context) *Refusal { return verdict },
	}
}

func TestBearer(t *testing.T) {
	s := service(t, guarded)
	wantURL(t, s, bearer(nil))
	free := bearer(nil)
	free.RawQuery = "product=other&customer_account_code=bound"
	wantURL(t, s, free) // not bound to a key's products

	for _, c := range []struct {
		verdict   *Refusal
		want      Code
		challenge string
		retry     string
	}{
		{&Refusal{Code: CodeInvalidToken, Message: "the token has expired", Challenge: `Bearer realm="api", error="invalid_token"`}, CodeInvalidToken, `Bearer realm="api", error="invalid_token"`, ""},
		{&Refusal{Code: CodeInvalidToken, Message: "m"}, CodeInvalidToken, "Bearer", ""},
		{&Refusal{Code: CodeInsufficientScope, Message: "m", Challenge: "Bearer x"}, CodeInsufficientScope, "Bearer x", ""},
		{&Refusal{Code: CodeTemporarilyUnavailable, Message: "m", RetryAfter: 1500 * time.Millisecond}, CodeTemporarilyUnavailable, "", "2"},
		{&Refusal{Code: CodeInvalidHeaders, Message: "m"}, CodeInvalidHeaders, "", ""},
		{&Refusal{Code: "something else", Message: "m"}, CodeInvalidToken, "Bearer", ""},
		{&Refusal{Message: "m"}, CodeInvalidToken, "Bearer", ""},
		{&Refusal{Code: CodeInvalidToken, Message: "not UTF-8: \xff"}, CodeInvalidToken, "Bearer", ""},
	} {
		answer := wantCode(t, s, bearer(c.verdict), c.want)
		if got := answer.Header.Get("WWW-Authenticate"); got != c.challenge {
			t.Errorf("challenge %q, want %q", got, c.challenge)
		}
		if got := answer.Header.Get("Retry-After"); got != c.retry {
			t.Errorf("Retry-After %q, want %q", got, c.retry)
		}
	}
	nobody := bearer(nil)
	nobody.Authenticate = nil
	wantCode(t, s, nobody, CodeInvalidToken)
}

// TestTrusted: who may ask without a header is the caller's to say; who comes
// with an HMAC is judged by it alone.
func TestTrusted(t *testing.T) {
	s := service(t)
	asked := 0
	trust := func(context.Context) *Refusal { asked++; return nil }
	wantURL(t, s, Request{RawQuery: askAcme, Authenticate: trust})
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	forged := saying(authorization(testKey, "x"))
	forged.Authenticate = trust
	wantCode(t, s, forged, CodeSignatureMismatch)
	garbage := saying("Basic dXNlcjpwYXNz")
	garbage.Authenticate = trust
	wantCode(t, s, garbage, CodeInvalidHeaders)
	if asked != 1 {
		t.Errorf("asked %d times about an HMAC", asked)
	}
	distrust := func(context.Context) *Refusal { return &Refusal{Code: CodeInsufficientScope, Message: "m"} }
	wantCode(t, s, Request{RawQuery: askAcme, Authenticate: distrust}, CodeMissingHeaders)
}

// TestLabels: what metrics are given is of a closed set.
func TestLabels(t *testing.T) {
	s := service(t, guarded)
	for _, c := range []struct {
		query, responseType, result string
	}{
		{askAcme, "token", "ok"},
		{query("response_type", "code"), "code", "ok"},
		{"product=app&customer_account_code=code-only", "code", "ok"},
		{"product=nothing&customer_account_code=acme", "token", "unknown_product"},
		{"product=app&customer_account_code=nobody&response_type=code", "code", "customer_account_not_found"},
		{"product=app&customer_account_code=nobody", "", "customer_account_not_found"},
		{query("response_type", "evil"), "", "validation_error"},
	} {
		answer := s.Answer(t.Context(), signed(c.query))
		if answer.ResponseType != c.responseType || answer.Result() != c.result {
			t.Errorf("%s: %q, %q", c.query, answer.ResponseType, answer.Result())
		}
	}
}

// TestCodes: the list is whole, without doubles, and has the statuses of the
// API's description.
func TestCodes(t *testing.T) {
	codes := Codes
	slices.Sort(codes)
	if len(slices.Compact(codes)) != 20 {
		t.Errorf("%d codes: %v", len(codes), codes)
	}
	for _, c := range Codes {
		want := http.StatusBadRequest
		switch c {
		case "signature_mismatch", "invalid_token":
			want = http.StatusUnauthorized
		case "insufficient_scope":
			want = http.StatusForbidden
		case "rate_limited":
			want = http.StatusTooManyRequests
		case "internal_error":
			want = http.StatusInternalServerError
		case "not_found":
			want = http.StatusNotFound
		case "method_not_allowed":
			want = http.StatusMethodNotAllowed
		case "temporarily_unavailable":
			want = http.StatusServiceUnavailable
		}
		if c.Status() != want {
			t.Errorf("%s: status %d, want %d", c, c.Status(), want)
		}
	}
}
