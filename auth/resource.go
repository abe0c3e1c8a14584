package auth

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
)

// wellKnownResource is the well-known suffix of RFC 9728, section 3.
const wellKnownResource = "/.well-known/oauth-protected-resource"

// Resource is a protected resource that publishes metadata about itself, so
// that a client can find out where to get a token (RFC 9728).
type Resource struct {
	// Identifier is the resource identifier: an https URL without a fragment
	// (http on loopback is let in for trying out).
	Identifier string

	// Issuers are the identifiers of the authorization servers.
	Issuers []string

	// Scopes are the scopes that requests to the resource need.
	Scopes []string

	// Methods are the ways a token may be sent: header, body, query.
	Methods []string

	// ProofAlgorithms are those that DPoP proofs may be signed by; DPoPOnly tells that
	// tokens must be bound by DPoP, Certificates that they may be bound to client
	// certificates.
	ProofAlgorithms        []string
	DPoPOnly, Certificates bool
}

// CheckResource is an error that says what a resource identifier must look
// like, or nil (RFC 9728, section 1.2).
func CheckResource(identifier string) error {
	u, err := url.Parse(identifier)
	if err != nil || u.Host == "" || u.Fragment != "" || strings.HasSuffix(identifier, "#") || u.User != nil {
		return fmt.Errorf("resource %q: expected an absolute https URL without user information and fragment", identifier)
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback.Host(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("resource %q: found scheme %q, expected https (http is for loopback only)", identifier, u.Scheme)
}

// MetadataURL is where the metadata is published: the well-known suffix goes
// between the host and the path of the identifier (RFC 9728, section 3.1). The
// identifier must have passed [CheckResource].
func (r Resource) MetadataURL() string {
	u, err := url.Parse(r.Identifier)
	if err != nil {
		return ""
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if len(u.EscapedPath()) > 1 {
		path = u.EscapedPath()
	}
	metadata := u.Scheme + "://" + u.Host + wellKnownResource + path
	if u.RawQuery != "" {
		metadata += "?" + u.RawQuery
	}
	return metadata
}

// MetadataPath is the path of [Resource.MetadataURL], percent-decoded, as a
// server matches it.
func (r Resource) MetadataPath() string {
	u, err := url.Parse(r.MetadataURL())
	if err != nil {
		return wellKnownResource
	}
	return u.Path
}

// Metadata is the document to publish (RFC 9728, section 2).
func (r Resource) Metadata() ([]byte, error) {
	document := struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers,omitzero"`
		Scopes   []string `json:"scopes_supported,omitzero"`
		Methods  []string `json:"bearer_methods_supported,omitzero"`
		Proofs   []string `json:"dpop_signing_alg_values_supported,omitzero"`
		DPoP     bool     `json:"dpop_bound_access_tokens_required,omitzero"`
		MTLS     bool     `json:"tls_client_certificate_bound_access_tokens,omitzero"`
	}{r.Identifier, r.Issuers, r.Scopes, r.Methods, r.ProofAlgorithms, r.DPoPOnly, r.Certificates}
	return json.Marshal(document, json.Deterministic(true))
}
