package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// What is wrong with the header comes before what is wrong with having two.
func TestFindToken(t *testing.T) {
	sources := []TokenSource{{In: inCookie, Name: "session"}, {In: inQuery, Name: "access_token"}, {In: inHeader, Name: "X-Access-Token"}}
	for _, test := range []struct {
		name, authorization, cookie, query string
		headers                            http.Header
		token                              string
		dpop                               bool
		want                               *auth.Refusal
	}{
		{name: "nothing", want: auth.ErrNoToken},
		{name: "header", authorization: "Bearer abc", token: "abc"},
		{name: "with a proof", authorization: "dpop abc", token: "abc", dpop: true},
		{name: "with a proof, and in a cookie", authorization: "DPoP abc", cookie: "abc", dpop: true, want: auth.ErrTwoTokens},
		{name: "cookie", cookie: "abc", token: "abc"},
		{name: "query", query: "abc", token: "abc"},
		{name: "two", authorization: "Bearer abc", cookie: "abc", want: auth.ErrTwoTokens},
		{name: "two without a header", cookie: "abc", query: "abc", want: auth.ErrTwoTokens},
		{name: "bad header beside a cookie", authorization: "Bearer a,b", cookie: "abc", want: auth.ErrMalformedHeader},
		{name: "bad header beside a query", authorization: "Bearer abc ", query: "abc", want: auth.ErrMalformedHeader},
		{name: "two spaces", authorization: "Bearer  abc", cookie: "abc", want: auth.ErrTwoTokens},
		{name: "bad cookie", cookie: "a,b", want: auth.ErrMalformedCookie},
		{name: "bad query", query: "a,b", want: auth.ErrMalformedQuery},
		{name: "a header of its own", headers: http.Header{"X-Access-Token": {"abc"}}, token: "abc"},
		{name: "in another spelling", headers: http.Header{"X_access_token": {"abc"}}, token: "abc"},
		{name: "in two spellings", headers: http.Header{"X-Access-Token": {"abc"}, "X_access_token": {"abc"}}, want: auth.ErrTwoTokens},
		{name: "twice", headers: http.Header{"X-Access-Token": {"abc", "abc"}}, want: auth.ErrTwoTokens},
		{name: "beside Authorization", authorization: "Bearer abc", headers: http.Header{"X-Access-Token": {"abc"}}, want: auth.ErrTwoTokens},
		{name: "beside a cookie", cookie: "abc", headers: http.Header{"X-Access-Token": {"abc"}}, want: auth.ErrTwoTokens},
		{name: "empty", headers: http.Header{"X-Access-Token": {""}}, want: auth.ErrNoToken},
		{name: "with a scheme", headers: http.Header{"X-Access-Token": {"Bearer abc"}}, want: auth.ErrMalformedTokenHeader},
		{name: "another header", headers: http.Header{"X-Access-Tokens": {"abc"}, "Y-Access-Token": {"abc"}}, want: auth.ErrNoToken},
		{name: "another scheme beside a cookie", authorization: "Basic abc", cookie: "abc", token: "abc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/?access_token="+test.query, nil)
			if test.authorization != "" {
				r.Header.Set("Authorization", test.authorization)
			}
			r.Header.Set("Cookie", "session="+test.cookie)
			for name, fields := range test.headers {
				r.Header[name] = fields
			}
			token, dpop, refusal := findToken(r, sources, nil)
			if token != test.token || dpop != test.dpop || refusal != test.want {
				t.Errorf("found %q, %v and %v, expected %q, %v and %v", token, dpop, refusal, test.token, test.dpop, test.want)
			}
		})
	}
}

// What the upstream gets of the places where a token may be.
func TestForwardToken(t *testing.T) {
	sources := []TokenSource{{In: inCookie, Name: "session"}, {In: inHeader, Name: "X-Access-Token"}}
	for _, test := range []struct {
		name          string
		authorization []string
		strip, keep   bool
		dpop          bool
		want          []string
	}{
		{name: "the token", want: []string{"Bearer abc"}},
		{name: "no token", strip: true},
		{name: "as it came", authorization: []string{"dpop  abc"}, dpop: true, want: []string{"DPoP abc"}},
		{name: "in the place of another scheme", authorization: []string{"Basic eDp5"}, want: []string{"Bearer abc"}},
		{name: "another scheme kept", authorization: []string{"Basic eDp5"}, keep: true, want: []string{"Basic eDp5"}},
		{name: "another scheme kept, without the token", authorization: []string{"Basic eDp5"}, keep: true, strip: true, want: []string{"Basic eDp5"}},
		{name: "nothing to keep", keep: true, want: []string{"Bearer abc"}},
		{name: "another bearer is never kept", authorization: []string{"bearer other"}, keep: true, want: []string{"Bearer abc"}},
		{name: "nor a token of DPoP", authorization: []string{"DPOP other"}, keep: true, want: []string{"Bearer abc"}},
		{name: "nor what is no scheme", authorization: []string{"\"Basic\""}, keep: true, want: []string{"Bearer abc"}},
		{name: "nor two", authorization: []string{"Basic a", "Basic b"}, keep: true, want: []string{"Bearer abc"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = http.Header{"X-Access-Token": {"abc"}, "X_access.token": {"x"}, "Cookie": {"a=b; session=abc"}, "X-Other": {"kept"}}
			if test.authorization != nil {
				r.Header["Authorization"] = test.authorization
			}
			scheme := bearerScheme
			if test.strip {
				scheme = ""
			} else if test.dpop {
				scheme = dpopScheme
			}
			forwardToken(r, "abc", sources, scheme, test.keep)
			want := http.Header{"Cookie": {"a=b"}, "X-Other": {"kept"}}
			if test.want != nil {
				want["Authorization"] = test.want
			}
			if !reflect.DeepEqual(r.Header, want) {
				t.Errorf("the upstream gets %v, expected %v", r.Header, want)
			}
		})
	}
}
