package sso

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// mount serves the service as its users do: everything but the answer is theirs.
func mount(t *testing.T, s *Service) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := s.Answer(r.Context(), Request{
			Header:   r.Header,
			RawQuery: r.URL.RawQuery,
			Authenticate: func(context.Context) *Refusal {
				if r.Header.Get("Authorization") == "Bearer good" {
					return nil
				}
				return &Refusal{Code: CodeInvalidToken, Message: "bad token", Challenge: `Bearer realm="sso"`}
			},
		})
		maps.Copy(w.Header(), answer.Header)
		w.WriteHeader(answer.Status)
		w.Write(answer.Body)
	}))
	t.Cleanup(server.Close)
	return server
}

// fetch asks over HTTP, and gives the answer back as the service gave it.
func fetch(t *testing.T, server *httptest.Server, query string, header http.Header) Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v4/sso_url?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Response{Status: response.StatusCode, Header: response.Header, Body: data}
}

// TestOverHTTP: a client's whole way, signature of the answer included.
func TestOverHTTP(t *testing.T) {
	server := mount(t, service(t, signing))
	answer := fetch(t, server, query("state", "a&b"), signed("").Header)
	if answer.Status != http.StatusOK || check(t, answer).URL == "" {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	signature, err := base64.StdEncoding.DecodeString(answer.Header.Get("LicenseSignature"))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(answer.Body)
	if err := rsa.VerifyPKCS1v15(&signingKey().PublicKey, crypto.SHA256, digest[:], signature); err != nil {
		t.Error(err)
	}
	if answer := fetch(t, server, askAcme, http.Header{"Authorization": {"Bearer good"}}); answer.Status != http.StatusOK {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
}

// TestHostileOverHTTP: over a real connection as well, a code of the list.
func TestHostileOverHTTP(t *testing.T) {
	server := mount(t, service(t))
	good := signed("").Header
	date, right := good["Date"], good["Authorization"]
	long := strings.Repeat("A", 64<<10)
	for name, c := range map[string]struct {
		header http.Header
		query  string
		code   string
	}{
		"64 KiB":            {http.Header{"Authorization": {long}, "Date": date}, askAcme, "authorization_invalid_headers"},
		"64 KiB key":        {http.Header{"Authorization": {authorization(long, "x")}, "Date": date}, askAcme, "authorization_invalid_headers"},
		"64 KiB bearer":     {http.Header{"Authorization": {"Bearer " + long}}, askAcme, "invalid_token"},
		"64 KiB date":       {http.Header{"Authorization": right, "Date": {long}}, askAcme, "date_header_diff"},
		"64 KiB query":      {good, askAcme + "&state=" + long, "validation_error"},
		"repeated":          {http.Header{"Authorization": {right[0], right[0]}, "Date": date}, askAcme, "authorization_invalid_headers"},
		"repeated date":     {http.Header{"Authorization": right, "Date": {date[0], date[0]}}, askAcme, "date_header_diff"},
		"non-ASCII":         {http.Header{"Authorization": {authorization("ключ", "x")}, "Date": date}, askAcme, "authorization_invalid_headers"},
		"Latin-1":           {http.Header{"Authorization": {"\xe4\xff"}, "Date": {"\xe4"}}, askAcme, "authorization_invalid_headers"},
		"odd base64":        {http.Header{"Authorization": {authorization(testKey, "=A=")}, "Date": date}, askAcme, "signature_mismatch"},
		"bad token":         {http.Header{"Authorization": {"Bearer bad"}}, askAcme, "invalid_token"},
		"nothing":           {nil, askAcme, "missing_headers"},
		"look-alike":        {good, askAcme + "&redirect_uri=https://app.example.com%2fsso/..", "validation_error"},
		"unencoded":         {good, askAcme + "&state=%", "validation_error"},
		"two question mark": {good, "?" + askAcme, "missing_parameters"},
	} {
		answer := fetch(t, server, c.query, c.header)
		if answer.Status == http.StatusOK || !bytes.Contains(answer.Body, []byte(`"code":"`+c.code+`"`)) {
			t.Errorf("%s: %d %s, want %s", name, answer.Status, answer.Body, c.code)
		}
		if answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be cached", name)
		}
	}
}
