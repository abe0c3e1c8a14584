package auth

import (
	"strings"
	"testing"
)

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
