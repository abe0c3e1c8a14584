package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// rung is a request and what comes of it.
type rung struct {
	code     sso.Code
	query    string
	edits    []edit
	sentence string // "" if any will do
}

// ladder has every fault at its beginning; each rung mends the first of them, so
// that the next code of the table shows.
func ladder() []rung {
	fields := func(algorithm, headers, key, date string) []edit {
		return []edit{header("Date", date), header("Authorization", fmt.Sprintf(`algorithm="%s", headers="%s", signature="eA==", apikey="%s"`, algorithm, headers, key))}
	}
	narrow := []edit{hmac("narrow", rightNow())}
	return []rung{
		{sso.CodeMissingHeaders, "", nil, "Some headers are missing: Authorization, Date"},
		{sso.CodeMissingHeaders, "", []edit{header("Authorization", `algorithm="md5"`)}, "Some headers are missing: Date"},
		{sso.CodeMissingParams, "", []edit{header("Date", "now"), header("Authorization", `algorithm="md5",headers="host"`)}, "Some parameters are missing in the authorization: signature, apikey"},
		{sso.CodeInvalidHeaders, "", fields("md5", "host", "nobody", "now"), ""},
		{sso.CodeHMACRequired, "", fields("md5", "date", "nobody", "now"), ""},
		{sso.CodeDateDiff, "", fields("hmac-sha256", "date", "nobody", "now"), ""},
		{sso.CodeDateDiff, "", fields("hmac-sha256", "date", "nobody", time.Now().Add(-16*time.Minute).UTC().Format(http.TimeFormat)), ""},
		{sso.CodeInvalidAPIKey, "", fields("hmac-sha256", "date", "nobody", rightNow()), ""},
		{sso.CodeRevokedAPIKey, "", fields("hmac-sha256", "date", "revoked", rightNow()), ""},
		{sso.CodeSignatureMismatch, "", fields("hmac-sha256", "date", "narrow", rightNow()), ""},
		{sso.CodeMissingParameters, "", narrow, "Some parameters are missing: product, customer_account_code"},
		{sso.CodeMissingParameters, "product=&customer_account_code=acme&more=1", narrow, "Some parameters are missing: product"},
		{sso.CodeValidation, "product=none&customer_account_code=none&response_type=id_token", narrow, ""},
		{sso.CodeValidation, "product=none&customer_account_code=server&redirect_uri=https://evil.example", narrow, ""},
		{sso.CodeUnknownProduct, "product=none&customer_account_code=none", narrow, "Provided product was not found"},
		{sso.CodeAPIKeyProduct, "product=my-product&customer_account_code=none", narrow, ""},
		{sso.CodeAccountNotFound, "product=other&customer_account_code=none", narrow, ""},
		{sso.CodeAccountNotFound, "product=other&customer_account_code=server&response_type=code", narrow, ""},
		{sso.CodeInternal, "product=other&customer_account_code=down", narrow, ""},
	}
}

func (s *ssoGateway) climb(t *testing.T, place string) {
	for i, rung := range ladder() {
		got := s.do(s.client, http.MethodGet, place+"?"+rung.query, rung.edits...)
		if body := wantCode(t, got, rung.code); rung.sentence != "" && body.Message != rung.sentence {
			t.Errorf("rung %d: got %q, want %q", i, body.Message, rung.sentence)
		}
		if challenge := got.header.Get("WWW-Authenticate"); (challenge != "") != (got.status == http.StatusUnauthorized) {
			t.Errorf("rung %d: status %d has the challenge %q", i, got.status, challenge)
		}
	}
	wantURL(t, s.do(s.client, http.MethodGet, place+"?product=other&customer_account_code=acme", hmac("narrow", rightNow())))
}

// badInput is answered with a code of the table, whatever it is. The admin
// endpoint of Caddy itself takes no more than 64 KiB of headers.
func (s *ssoGateway) badInput(t *testing.T, place string) {
	long := strings.Repeat("y", 64<<10)
	part := func(signature, key string) string {
		return fmt.Sprintf(`algorithm="hmac-sha256",headers="date",signature="%s",apikey="%s"`, signature, key)
	}
	right := sso.Sign(sso.NewSecret(ssoShared), rightNow())
	for name, header := range map[string]http.Header{
		"long authorization":     {"Authorization": {long}},
		"long bearer":            {"Authorization": {"Bearer " + long}},
		"long signature":         {"Authorization": {part(long, ssoKey)}, "Date": {rightNow()}},
		"long key":               {"Authorization": {part(right, long)}, "Date": {rightNow()}},
		"long date":              {"Authorization": {part(right, ssoKey)}, "Date": {long}},
		"many parts":             {"Authorization": {strings.Repeat(`a="b",`, 8000)}, "Date": {rightNow()}},
		"two authorizations":     {"Authorization": {part(right, ssoKey), part(right, ssoKey)}, "Date": {rightNow()}},
		"hmac and bearer":        {"Authorization": {part(right, ssoKey), "Bearer x"}, "Date": {rightNow()}},
		"bearer twice":           {"Authorization": {"Bearer x", "Bearer x"}},
		"two dates":              {"Authorization": {part(right, ssoKey)}, "Date": {rightNow(), rightNow()}},
		"empty and full":         {"Authorization": {"", part(right, ssoKey)}, "Date": {rightNow()}},
		"not ASCII":              {"Authorization": {part("ü", "ключ")}, "Date": {rightNow()}},
		"not UTF-8":              {"Authorization": {part("\xff\xfe", "\x80")}, "Date": {"\xff"}},
		"scheme not ASCII":       {"Authorization": {"Bearer ü"}},
		"Kelvin in the scheme":   {"Authorization": {"\u212Aearer x"}},
		"no padding":             {"Authorization": {part(strings.TrimRight(right, "="), ssoKey)}, "Date": {rightNow()}},
		"URL alphabet":           {"Authorization": {part(strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(right), ssoKey)}, "Date": {rightNow()}},
		"padding alone":          {"Authorization": {part("====", ssoKey)}, "Date": {rightNow()}},
		"blanks in the base64":   {"Authorization": {part(right[:8]+" "+right[8:], ssoKey)}, "Date": {rightNow()}},
		"quote in a value":       {"Authorization": {part(`a"b`, ssoKey)}, "Date": {rightNow()}},
		"open quote":             {"Authorization": {`algorithm="hmac-sha256`}, "Date": {rightNow()}},
		"a part twice":           {"Authorization": {part(right, ssoKey) + `,apikey="x"`}, "Date": {rightNow()}},
		"commas":                 {"Authorization": {",,,,"}, "Date": {rightNow()}},
		"basic":                  {"Authorization": {"Basic YTpi"}, "Date": {rightNow()}},
		"signature of no date":   {"Authorization": {part(right, ssoKey)}, "Date": {""}},
		"date of another form":   {"Authorization": {part(right, ssoKey)}, "Date": {time.Now().Format(time.RFC3339)}},
		"date in another zone":   {"Authorization": {part(right, ssoKey)}, "Date": {time.Now().UTC().Format(time.RFC1123Z)}},
		"date of the year 10000": {"Authorization": {part(right, ssoKey)}, "Date": {"Tue, 07 Jun 10000 20:51:35 GMT"}},
	} {
		got := s.do(s.client, http.MethodGet, place+"?"+ssoAsk, func(r *http.Request) { r.Header = header })
		s.refusedWell(t, name, got)
	}
	for name, query := range map[string]string{
		"not percent-encoded": ssoAsk + "&state=%zz", "semicolons": ssoAsk + ";state=x", "NUL": ssoAsk + "&redirect_uri=%00",
		"product twice": ssoAsk + "&product=other", "unknown": ssoAsk + "&scope=x", "empty state": ssoAsk + "&state=",
		"long state": ssoAsk + "&state=" + strings.Repeat("y", 3000), "long query": ssoAsk + "&state=" + strings.Repeat("y", 20000),
		"method without challenge": ssoAsk + "&code_challenge_method=S256", "plain challenge": ssoAsk + "&code_challenge=x&code_challenge_method=plain",
		"other case": "Product=my-product&customer_account_code=acme", "product of bytes": "product=%ff%fe&customer_account_code=%80",
	} {
		s.refusedWell(t, name, s.do(s.client, http.MethodGet, place+"?"+query, signed()))
	}
}

func (s *ssoGateway) refusedWell(t *testing.T, name string, got answer) {
	t.Helper()
	if got.status == http.StatusRequestHeaderFieldsTooLarge && strings.HasPrefix(name, "long") && strings.Contains(t.Name(), "admin endpoint") {
		return // Caddy's own refusal
	}
	var body ssoError
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || body.Status != got.status || !slices.Contains(sso.Codes, sso.Code(body.Code)) {
		t.Errorf("%s: got %d %q, which is no listed code", name, got.status, got.body)
	}
	if got.status < 400 || got.status >= 500 {
		t.Errorf("%s: got status %d, want one of a client's mistakes", name, got.status)
	}
}

// strangeRedirects look like one of the list.
func (s *ssoGateway) strangeRedirects(t *testing.T, place string) {
	for _, address := range []string{
		"https://app.example.com/sso/", "https://app.example.com/ssox", "https://app.example.com/x/../sso", "https://app.example.com/sso/..",
		"https://someone@app.example.com/sso", "https://app.example.com:8443/sso", "https://app.example.com:443/sso", "http://app.example.com/sso",
		"https://APP.example.com/sso", "https://app.example.com/%73so", "https://app.example.com%2Fsso", "https://app.example.com/sso?x", "https://app.example.com/sso#x",
		"https://app.example.com.evil.example/sso", "//app.example.com/sso", "http://127.0.0.1:80@evil.example/callback", "http://127.0.0.1:080/callback",
		"http://localhost/callback", "http://127.0.0.1:8080/callback/../x", "javascript:alert(1)",
	} {
		got := s.do(s.client, http.MethodGet, place+"?"+ssoAsk+"&"+url.Values{"redirect_uri": {address}}.Encode(), signed())
		wantCode(t, got, sso.CodeValidation)
		if strings.Contains(got.body, "example") || strings.Contains(got.body, "alert") {
			t.Errorf("%s is echoed: %s", address, got.body)
		}
	}
}
