package sso

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

func TestParseParts(t *testing.T) {
	full := map[string]string{"algorithm": "hmac-sha256", "headers": "date", "signature": "c2ln+/==", "apikey": "k-1"}
	for name, c := range map[string]struct {
		field string
		want  map[string]string // nil: it cannot be read
	}{
		"as documented":       {`algorithm="hmac-sha256",headers="date",signature="c2ln+/==",apikey="k-1"`, full},
		"with blanks":         {`algorithm="hmac-sha256", headers="date", signature="c2ln+/==", apikey="k-1"`, full},
		"many blanks":         {" algorithm=\"hmac-sha256\" ,\theaders=\"date\"  , signature=\"c2ln+/==\",\t apikey=\"k-1\" ", full},
		"another order":       {`apikey="k-1",signature="c2ln+/==",headers="date",algorithm="hmac-sha256"`, full},
		"another case":        {`Algorithm="hmac-sha256",HEADERS="date",sIGNATURE="c2ln+/==",apiKey="k-1"`, full},
		"an empty value":      {`apikey=""`, map[string]string{"apikey": ""}},
		"an unknown part":     {`x-new_1="any, = thing",apikey="k"`, map[string]string{"x-new_1": "any, = thing", "apikey": "k"}},
		"twice":               {`apikey="a",apikey="a"`, nil},
		"twice in cases":      {`apikey="",ApiKey="a"`, nil},
		"an unknown twice":    {`x="a",x="a"`, nil},
		"no quotes":           {`apikey=k`, nil},
		"single quotes":       {`apikey='k'`, nil},
		"open quote":          {`apikey="k`, nil},
		"no name":             {`="k"`, nil},
		"no comma":            {`apikey="k" signature="s"`, nil},
		"semicolons":          {`apikey="k";signature="s"`, nil},
		"a comma at the end":  {`apikey="k",`, nil},
		"a comma first":       {`,apikey="k"`, nil},
		"two commas":          {`apikey="k",,signature="s"`, nil},
		"blank around =":      {`apikey = "k"`, nil},
		"an escape":           {`apikey="k\"x"`, nil},
		"a tab in a value":    {"apikey=\"k\tx\"", nil},
		"a NUL":               {"apikey=\"k\x00\"", nil},
		"non-ASCII value":     {`apikey="ключ"`, nil},
		"non-ASCII name":      {`apiſey="k"`, nil},
		"invalid UTF-8":       {"apikey=\"\xff\"", nil},
		"a colon in the name": {`api:key="k"`, nil},
		"Basic":               {"Basic dXNlcjpwYXNz", nil},
		"Digest":              {`Digest username="u"`, nil},
		"a word":              {"x", nil},
		"a blank":             {" ", nil},
		"nothing":             {"", nil},
		"too many":            {strings.TrimSuffix(parts(maxAuthorizationParts+1), ","), nil},
		"too long":            {`apikey="` + strings.Repeat("k", maxAuthorizationBytes) + `"`, nil},
	} {
		got, ok := parseParts(c.field)
		if ok != (c.want != nil) || ok && !maps.Equal(got, c.want) {
			t.Errorf("%s: %q was read as %v, %v", name, c.field, got, ok)
		}
	}
	if got, ok := parseParts(strings.TrimSuffix(parts(maxAuthorizationParts), ",")); !ok || len(got) != maxAuthorizationParts {
		t.Errorf("as many as may be: %v, %v", got, ok)
	}
}

// parts are n different ones, each with a comma behind it.
func parts(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat("x", i+1) + `="",`)
	}
	return b.String()
}

func TestBearerScheme(t *testing.T) {
	for field, want := range map[string]bool{
		"Bearer abc": true, "bearer abc": true, "BEARER\tabc": true, "Bearer": true, "Bearer ": true,
		"Bearerx abc": false, `Bearer="abc"`: false, "Bearer,": false, "Basic abc": false, "": false, " Bearer abc": false,
		"Bеarer abc": false, // a Cyrillic letter
	} {
		if hasBearerScheme(field) != want {
			t.Errorf("%q: want %v", field, want)
		}
	}
}

// TestCaseBlind: names of algorithm and header are names too.
func TestCaseBlind(t *testing.T) {
	r := signed(askAcme)
	field := r.Header.Get("Authorization")
	field = strings.NewReplacer("hmac-sha256", "HMAC-SHA256", `"date"`, `"Date"`).Replace(field)
	r.Header.Set("Authorization", field)
	wantURL(t, service(t), r)
}

// TestOddHeaders: whatever is sent, the answer is on the list, and quick.
func TestOddHeaders(t *testing.T) {
	s := service(t)
	date := testTime.Format(http.TimeFormat)
	right := authorization(testKey, Sign(NewSecret(testShared), date))
	long := strings.Repeat("A", 64<<10)
	for name, c := range map[string]struct {
		authorization, date []string
		want                Code
	}{
		"64 KiB authorization":     {[]string{long}, []string{date}, CodeInvalidHeaders},
		"64 KiB signature":         {[]string{authorization(testKey, long)}, []string{date}, CodeInvalidHeaders},
		"64 KiB key":               {[]string{authorization(long, "x")}, []string{date}, CodeInvalidHeaders},
		"64 KiB date":              {[]string{right}, []string{long}, CodeDateDiff},
		"64 KiB of commas":         {[]string{strings.Repeat(",", 64<<10)}, []string{date}, CodeInvalidHeaders},
		"two authorizations":       {[]string{right, right}, []string{date}, CodeInvalidHeaders},
		"an empty and a right one": {[]string{"", right}, []string{date}, CodeInvalidHeaders},
		"HMAC and bearer":          {[]string{right, "Bearer x"}, []string{date}, CodeInvalidHeaders},
		"two bearers":              {[]string{"Bearer x", "Bearer x"}, []string{date}, CodeInvalidHeaders},
		"two dates":                {[]string{right}, []string{date, date}, CodeDateDiff},
		"an empty and a date":      {[]string{right}, []string{"", date}, CodeDateDiff},
		"an empty date":            {[]string{right}, []string{""}, CodeMissingHeaders},
		"empty authorizations":     {[]string{"", ""}, []string{date}, CodeMissingHeaders},
		"non-ASCII":                {[]string{authorization("ключ", "x")}, []string{date}, CodeInvalidHeaders},
		"non-ASCII date":           {[]string{right}, []string{"Вт, 07 Jun 2011 20:51:35 GMT"}, CodeDateDiff},
		"Latin-1 bytes":            {[]string{"\xe9\xff"}, []string{"\xe9"}, CodeInvalidHeaders},
		"no date, unreadable":      {[]string{"?"}, nil, CodeMissingHeaders},
		"odd base64":               {[]string{authorization(testKey, "===")}, []string{date}, CodeSignatureMismatch},
		"Basic":                    {[]string{"Basic dXNlcjpwYXNz"}, []string{date}, CodeInvalidHeaders},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{"Authorization": c.authorization, "Date": c.date}
			wantCode(t, s, Request{Header: header, RawQuery: askAcme}, c.want)
		})
	}
	wantCode(t, s, Request{RawQuery: askAcme}, CodeMissingHeaders) // no header at all
}
