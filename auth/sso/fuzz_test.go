package sso

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzSSOAuthorization: whoever does not know the shared key is refused, with a
// code of the list, whatever the headers.
func FuzzSSOAuthorization(f *testing.F) {
	s := service(f, guarded)
	date := testTime.Format(http.TimeFormat)
	right := authorization(testKey, Sign(NewSecret(testShared), date))
	f.Add(right, date, 1)
	f.Add(authorization(testKey, "UDysfR6MndUZReo07Y9r+vErn8vSxrnQ5ulit18iJ/Q="), date, 1)
	f.Add(authorization(revokedKey, "x"), "Tue, 7 Jun 2011 20:51:35 GMT", 1)
	f.Add(right, "Tue, 07 Jun 2011 20:51:35.5 GMT", 2)
	f.Add("Bearer abc", "", 1)
	f.Add("algorithm=\"md5\", headers=\"date host\",\tsignature=\"====\",apikey=\"\xff\"", "Вт", 1)
	f.Add(strings.Repeat(`x="",`, 20), strings.Repeat("9", 100), 0)
	f.Fuzz(func(t *testing.T, field, sent string, copies int) {
		header := http.Header{"Date": {sent}}
		for range copies & 3 {
			header.Add("Authorization", field)
		}
		answer := s.Answer(context.Background(), Request{Header: header, RawQuery: askAcme})
		b := check(t, answer)
		if b.Code == CodeInternal || b.Code == CodeMissingParameters || b.Code == CodeValidation {
			t.Fatalf("%s for its headers", b.Code)
		}
		if answer.Status != http.StatusOK {
			return
		}
		if sent != date && sent != "Tue, 7 Jun 2011 20:51:35 GMT" && !strings.Contains(sent, "Jun 2011 ") {
			t.Fatalf("let in with the date %q", sent)
		}
		if !strings.Contains(field, Sign(NewSecret(testShared), sent)) || copies&3 != 1 {
			t.Fatalf("let in by %q, sent %d times", field, copies&3)
		}
	})
}

// FuzzQuery: whatever the query, the answer is a refusal of the list, or an
// address that leads to the account's provider, and back to an address of its
// list, with each parameter once.
func FuzzQuery(f *testing.F) {
	s := service(f, guarded)
	s.random = func() string { return "AAAAAAAAAAAAAAAAAAAAAA" } // so that an input always takes the same way
	f.Add(askAcme)
	f.Add(query("response_type", "code", "state", "a&b", "nonce", "ü", "redirect_uri", "http://127.0.0.1:9/callback"))
	f.Add(query("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method", "S256"))
	f.Add("product=app&customer_account_code=code-only&response_type=token")
	f.Add("product=other&customer_account_code=bound&redirect_uri=http%3A%2F%2F%5B%3A%3A1%5D%3A7%2Fcallback")
	f.Add("product=%zz&customer_account_code=acme;state=%")
	f.Add("product=app&product=app&customer_account_code=acme&\x00\xff=")
	for _, address := range lookAlikes {
		f.Add(query("redirect_uri", address))
	}
	f.Fuzz(func(t *testing.T, raw string) {
		answer := s.Answer(context.Background(), signed(raw))
		b := check(t, answer)
		if answer.Status != http.StatusOK {
			allowed := []Code{CodeMissingParameters, CodeValidation, CodeUnknownProduct, CodeAccountNotFound}
			if !slices.Contains(allowed, b.Code) {
				t.Fatalf("%s for its query", b.Code)
			}
			return
		}
		sent, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q was taken: %v", raw, err)
		}
		checkAddress(t, b.URL, sent)
	})
}

// checkAddress holds an address against what was asked for, by other means than
// those it was made by.
func checkAddress(t *testing.T, address string, sent url.Values) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host != "login.acme.example" || u.Path != "/authorize" || u.Fragment != "" || !isPlainURL(address) {
		t.Fatalf("leads to %q: %v", address, err)
	}
	got, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		t.Fatalf("%q: %v", address, err)
	}
	for name, values := range got {
		if len(values) != 1 || values[0] == "" {
			t.Fatalf("%s is %q", name, values)
		}
		own := name == "client_id" || name == "scope"
		if !own && !slices.Contains(acceptedParams, name) {
			t.Fatalf("%s is sent", name)
		}
		if given := sent.Get(name); given != "" && !own && name != "response_type" && given != values[0] {
			t.Fatalf("%s is %q, asked for was %q", name, values[0], given)
		}
	}
	for _, name := range []string{"client_id", "scope", "state", "nonce", "redirect_uri", "response_type"} {
		if !got.Has(name) {
			t.Fatalf("%s is not sent", name)
		}
	}
	back, err := url.Parse(got.Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	back.Host = strings.TrimSuffix(back.Host, ":"+back.Port())
	listed := []string{"https://app.example.com/sso", "http://127.0.0.1/callback", "http://[::1]/callback", "com.example.app:/callback"}
	if !slices.Contains(listed, back.String()) {
		t.Fatalf("leads back to %q", got.Get("redirect_uri"))
	}
}
