package auth

import (
	"regexp"
	"strings"
	"testing"
)

// bearer takes the token of a request. Its alphabet is the verifier's to answer
// for.
func bearer(tb testing.TB, v *Verifier, fields []string) (string, *Refusal) {
	tb.Helper()
	token, refusal := ParseAuthorization(fields)
	if refusal == nil && v.Verify(tb.Context(), token).Refusal == ErrMalformedHeader {
		refusal = ErrMalformedHeader
	}
	if refusal != nil {
		return "", refusal
	}
	return token, nil
}

// strictBearer is the same rule, said at once.
func strictBearer(fields []string) (string, *Refusal) {
	switch {
	case len(fields) > 1:
		return "", ErrSeveralHeaders
	case len(fields) == 0 || !bearerField.MatchString(fields[0]):
		return "", ErrNoToken
	}
	rest := fields[0][len(bearerScheme):]
	token := strings.TrimLeft(rest, " ")
	switch {
	case token == rest || token == "":
		return "", ErrMalformedHeader
	case len(token) > MaxTokenBytes:
		return "", ErrTooLong
	case !b64Token.MatchString(token):
		return "", ErrMalformedHeader
	}
	return token, nil
}

var (
	bearerField = regexp.MustCompile("^(?i:bearer)([^-!#$%&'*+.^_`|~0-9A-Za-z]|$)")
	b64Token    = regexp.MustCompile(`\A[A-Za-z0-9\-._~+/]+=*\z`)
)

// Whatever byte is put anywhere into a good token, cached or not, the answer
// is the strict rule's.
func TestAlphabet(t *testing.T) {
	g := newGate(t, "EdDSA")
	v := g.verifier()
	good := g.idp.Mint(nil)
	letIn(t, v, good)
	dot := strings.IndexByte(good, '.')
	for _, at := range []int{0, 1, dot, dot + 1, strings.LastIndexByte(good, '.') + 1, len(good) - 1, len(good)} {
		for c := range 256 {
			tokens := []string{good[:at] + string([]byte{byte(c)}) + good[at:]}
			if at < len(good) {
				tokens = append(tokens, good[:at]+string([]byte{byte(c)})+good[at+1:])
			}
			for _, token := range tokens {
				field := "Bearer " + token
				got, refusal := bearer(t, v, []string{field})
				if want, wanted := strictBearer([]string{field}); got != want || refusal != wanted {
					t.Fatalf("byte %#x at %d: got %q, %v; expected %q, %v", c, at, got, refusal, want, wanted)
				}
			}
		}
	}
}

// Explaining says of a malformed token what verifying does.
func TestAlphabetIsExplained(t *testing.T) {
	v := newGate(t).verifier()
	for _, token := range []string{"a b", "a.b.c ", "a.b,c.d", "=", "é"} {
		refused(t, v, token, ErrMalformedHeader)
		e := v.Explain(t.Context(), token, nil, nil, nil)
		if e.Refusal != ErrMalformedHeader || *e.Rules[0].Held || e.Rules[1].Held != nil {
			t.Errorf("%q: got %v, %+v", token, e.Refusal, e.Rules[:2])
		}
	}
}

func TestParseAuthorization(t *testing.T) {
	v := newGate(t).verifier()
	longest := strings.Repeat("a", MaxTokenBytes)
	tests := []struct {
		name   string
		fields []string
		token  string
		want   *Refusal
	}{
		{"no field", nil, "", ErrNoToken},
		{"empty field", []string{""}, "", ErrNoToken},
		{"another scheme", []string{"Basic dXNlcjpwYXNz"}, "", ErrNoToken},
		{"a longer scheme", []string{"Bearerx abc"}, "", ErrNoToken},
		{"a longer scheme with a sign", []string{"Bearer-2 abc"}, "", ErrNoToken},
		{"a shorter scheme", []string{"Beare abc"}, "", ErrNoToken},
		{"another scheme that holds the word", []string{"Digest Bearer abc"}, "", ErrNoToken},
		{"usual", []string{"Bearer abc.def.ghi"}, "abc.def.ghi", nil},
		{"lower case", []string{"bearer abc"}, "abc", nil},
		{"upper case", []string{"BEARER abc"}, "abc", nil},
		{"mixed case", []string{"bEaReR abc"}, "abc", nil},
		{"every allowed byte", []string{"Bearer azAZ09-._~+/=="}, "azAZ09-._~+/==", nil},
		{"the longest token", []string{"Bearer " + longest}, longest, nil},
		{"too long", []string{"Bearer " + longest + "a"}, "", ErrTooLong},
		{"too long and malformed", []string{"Bearer " + longest + "\x00"}, "", ErrTooLong},
		{"two fields", []string{"Bearer abc", "Bearer abc"}, "", ErrSeveralHeaders},
		{"two fields, one of another scheme", []string{"Basic abc", "Bearer abc"}, "", ErrSeveralHeaders},
		{"two empty fields", []string{"", ""}, "", ErrSeveralHeaders},
		{"no token", []string{"Bearer"}, "", ErrMalformedHeader},
		{"a space and no token", []string{"Bearer "}, "", ErrMalformedHeader},
		{"two spaces", []string{"Bearer  abc"}, "abc", nil},
		{"a tab", []string{"Bearer\tabc"}, "", ErrMalformedHeader},
		{"a comma", []string{"Bearer,abc"}, "", ErrMalformedHeader},
		{"an equals sign", []string{"Bearer=abc"}, "", ErrMalformedHeader},
		{"two tokens", []string{"Bearer abc def"}, "", ErrMalformedHeader},
		{"two credentials in one field", []string{"Bearer abc, Basic def"}, "", ErrMalformedHeader},
		{"a space behind", []string{"Bearer abc "}, "", ErrMalformedHeader},
		{"a line break", []string{"Bearer abc\n"}, "", ErrMalformedHeader},
		{"a quote", []string{`Bearer "abc"`}, "", ErrMalformedHeader},
		{"padding only", []string{"Bearer =="}, "", ErrMalformedHeader},
		{"padding inside", []string{"Bearer a=b"}, "", ErrMalformedHeader},
		{"a null byte", []string{"Bearer a\x00b"}, "", ErrMalformedHeader},
		{"beyond ASCII", []string{"Bearer é"}, "", ErrMalformedHeader},
		{"a byte that lowers to a letter of the scheme", []string{"\x02earer abc"}, "", ErrNoToken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if token, refusal := strictBearer(tt.fields); token != tt.token || refusal != tt.want {
				t.Errorf("the strict rule gives %q, %v; expected %q, %v", token, refusal, tt.token, tt.want)
			}
			token, refusal := bearer(t, v, tt.fields)
			if token != tt.token || refusal != tt.want {
				t.Errorf("got %q, %v; expected %q, %v", token, refusal, tt.token, tt.want)
			}
		})
	}
}

func TestCheckToken(t *testing.T) {
	for token, want := range map[string]*Refusal{
		"":                                   ErrMalformedHeader,
		"abc":                                nil,
		"a b":                                ErrMalformedHeader,
		strings.Repeat("a", MaxTokenBytes):   nil,
		strings.Repeat("a", MaxTokenBytes+1): ErrTooLong,
	} {
		if got := CheckToken(token); got != want {
			t.Errorf("a token of %d bytes: got %v, expected %v", len(token), got, want)
		}
	}
}

func TestParseCredentials(t *testing.T) {
	for _, tt := range []struct {
		fields []string
		token  string
		dpop   bool
		want   *Refusal
	}{
		{[]string{"DPoP a.b.c"}, "a.b.c", true, nil},
		{[]string{"dpop   a.b.c"}, "a.b.c", true, nil},
		{[]string{"Bearer a.b.c"}, "a.b.c", false, nil},
		{[]string{"DPoP"}, "", true, ErrMalformedHeader},
		{[]string{"DPoP "}, "", true, ErrMalformedHeader},
		{[]string{"DPoP\ta.b.c"}, "", true, ErrMalformedHeader},
		{[]string{"DPoP " + strings.Repeat("a", MaxTokenBytes+1)}, "", true, ErrTooLong},
		{[]string{"DPoPx a.b.c"}, "", false, ErrNoToken},
		{[]string{"Basic a"}, "", false, ErrNoToken},
		{nil, "", false, ErrNoToken},
		{[]string{"DPoP a", "DPoP a"}, "", false, ErrSeveralHeaders},
		{[]string{"DPoP a", "Bearer a"}, "", false, ErrSeveralHeaders},
	} {
		if token, dpop, refusal := ParseCredentials(tt.fields); token != tt.token || dpop != tt.dpop || refusal != tt.want {
			t.Errorf("%.40q: got %q, %t, %v", tt.fields, token, dpop, refusal)
		}
	}
	if _, refusal := ParseAuthorization([]string{"DPoP a.b.c"}); refusal != ErrNoToken {
		t.Errorf("a bearer's token: %v", refusal)
	}
}

func TestCheckResource(t *testing.T) {
	for _, good := range []string{
		"https://gateway.example.com", "https://gateway.example.com/", "https://a.example:8443/api/v1?x=y",
		"http://localhost:8080", "http://127.0.0.1:1", "http://[::1]/a", "http://app.localhost",
	} {
		if err := CheckResource(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"":                          "expected an absolute https URL",
		"gateway.example.com":       "expected an absolute https URL",
		"/path":                     "expected an absolute https URL",
		"https://":                  "expected an absolute https URL",
		"https://a.example/#x":      "without user information and fragment",
		"https://a.example/#":       "without user information and fragment",
		"https://u@a.example/":      "without user information and fragment",
		"https://a.example/%zz":     "expected an absolute https URL",
		"http://a.example":          `found scheme "http", expected https`,
		"http://localhost.example":  `found scheme "http", expected https`,
		"http://127.0.0.1.example/": `found scheme "http", expected https`,
		"ftp://a.example":           `found scheme "ftp", expected https`,
	} {
		if err := CheckResource(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, expected %q", bad, err, want)
		}
	}
}

func TestMetadataURL(t *testing.T) {
	tests := []struct{ identifier, address, path string }{
		{"https://a.example", "https://a.example/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource"},
		{"https://a.example/", "https://a.example/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource"},
		{"https://a.example:8443/api", "https://a.example:8443/.well-known/oauth-protected-resource/api", "/.well-known/oauth-protected-resource/api"},
		{"https://a.example/api/", "https://a.example/.well-known/oauth-protected-resource/api/", "/.well-known/oauth-protected-resource/api/"},
		{"https://a.example/a%20b", "https://a.example/.well-known/oauth-protected-resource/a%20b", "/.well-known/oauth-protected-resource/a b"},
		{"https://a.example/api?k1=v1", "https://a.example/.well-known/oauth-protected-resource/api?k1=v1", "/.well-known/oauth-protected-resource/api"},
		{"https://a.example?k1=v1", "https://a.example/.well-known/oauth-protected-resource?k1=v1", "/.well-known/oauth-protected-resource"},
	}
	for _, tt := range tests {
		r := Resource{Identifier: tt.identifier}
		if got := r.MetadataURL(); got != tt.address {
			t.Errorf("%s: got %s, expected %s", tt.identifier, got, tt.address)
		}
		if got := r.MetadataPath(); got != tt.path {
			t.Errorf("%s: got path %s, expected %s", tt.identifier, got, tt.path)
		}
	}
}

func TestMetadata(t *testing.T) {
	tests := []struct {
		resource Resource
		want     string
	}{
		{Resource{Identifier: "https://a.example"}, `{"resource":"https://a.example"}`},
		{
			Resource{Identifier: "https://a.example", Issuers: []string{"https://i.example"}, Scopes: []string{"read"}, Methods: []string{"header"}},
			`{"resource":"https://a.example","authorization_servers":["https://i.example"],"scopes_supported":["read"],"bearer_methods_supported":["header"]}`,
		},
		{
			Resource{Identifier: "https://a.example", ProofAlgorithms: []string{"ES256"}, DPoPOnly: true, Certificates: true},
			`{"resource":"https://a.example","dpop_signing_alg_values_supported":["ES256"],"dpop_bound_access_tokens_required":true,"tls_client_certificate_bound_access_tokens":true}`,
		},
	}
	for _, tt := range tests {
		got, err := tt.resource.Metadata()
		if err != nil || string(got) != tt.want {
			t.Errorf("got %s, %v; expected %s", got, err, tt.want)
		}
	}
}
