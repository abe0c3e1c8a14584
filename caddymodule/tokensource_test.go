package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// What is wrong with the header comes before what is wrong with having two.
func TestFindToken(t *testing.T) {
	sources := []TokenSource{{In: inCookie, Name: "session"}, {In: inQuery, Name: "access_token"}}
	for _, test := range []struct {
		name, authorization, cookie, query string
		token                              string
		want                               *auth.Refusal
	}{
		{name: "nothing", want: auth.ErrNoToken},
		{name: "header", authorization: "Bearer abc", token: "abc"},
		{name: "cookie", cookie: "abc", token: "abc"},
		{name: "query", query: "abc", token: "abc"},
		{name: "two", authorization: "Bearer abc", cookie: "abc", want: auth.ErrTwoTokens},
		{name: "two without a header", cookie: "abc", query: "abc", want: auth.ErrTwoTokens},
		{name: "bad header beside a cookie", authorization: "Bearer a,b", cookie: "abc", want: auth.ErrMalformedHeader},
		{name: "bad header beside a query", authorization: "Bearer abc ", query: "abc", want: auth.ErrMalformedHeader},
		{name: "two spaces", authorization: "Bearer  abc", cookie: "abc", want: auth.ErrTwoTokens},
		{name: "bad cookie", cookie: "a,b", want: auth.ErrMalformedCookie},
		{name: "bad query", query: "a,b", want: auth.ErrMalformedQuery},
		{name: "another scheme beside a cookie", authorization: "Basic abc", cookie: "abc", token: "abc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/?access_token="+test.query, nil)
			if test.authorization != "" {
				r.Header.Set("Authorization", test.authorization)
			}
			r.Header.Set("Cookie", "session="+test.cookie)
			token, refusal := findToken(r, sources, nil)
			if token != test.token || refusal != test.want {
				t.Errorf("found %q and %v, expected %q and %v", token, refusal, test.token, test.want)
			}
		})
	}
}
