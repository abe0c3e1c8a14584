package idp

import (
	"maps"
	"net/http"
	"slices"
)

// metadata serves one of the two documents. They hold the same members.
func (i *Issuer) metadata(oauth bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		doc := i.document()
		f := i.faults
		f.mu.Lock()
		missing := f.noOpenID
		if oauth {
			missing = f.noOAuth
		}
		if f.metaIssuer != nil {
			doc["issuer"] = *f.metaIssuer
		}
		edit := f.metaEdit
		f.mu.Unlock()
		if missing {
			http.NotFound(w, r)
			return
		}
		if edit != nil {
			edit(doc)
		}
		writeJSON(w, http.StatusOK, doc)
	}
}

// document has every member that OpenID Connect Discovery 1.0 §3 and RFC 8414 §2
// require of an issuer that only serves client credentials; what a login page adds
// is claimed only if there is an application to log in to.
func (i *Issuer) document() map[string]any {
	doc := map[string]any{
		"issuer":                                i.URL,
		"jwks_uri":                              i.JWKSURL(),
		"token_endpoint":                        i.TokenURL(),
		"introspection_endpoint":                i.IntrospectionURL(),
		"response_types_supported":              []string{},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": i.ring.algorithms(),
		"grant_types_supported":                 []string{"client_credentials"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	}
	if i.hasApplication() {
		maps.Copy(doc, map[string]any{
			"authorization_endpoint":                i.LoginURL(),
			"response_types_supported":              []string{"code", "id_token", "id_token token", "token"},
			"grant_types_supported":                 []string{"authorization_code", "client_credentials", "implicit"},
			"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "none"},
			"code_challenge_methods_supported":      []string{challengeS256},
			"scopes_supported":                      loginScopes,
		})
	}
	return doc
}

// algorithms lists those of the published keys, sorted.
func (r *keyring) algorithms() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var algs []string
	for _, k := range r.keys {
		if !k.hidden {
			algs = append(algs, k.alg)
		}
	}
	slices.Sort(algs)
	return slices.Compact(algs)
}

func (i *Issuer) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	set, err := i.ring.set()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	i.faults.mu.Lock()
	cache := i.faults.cache
	i.faults.mu.Unlock()
	if cache != "" {
		w.Header().Set("Cache-Control", cache)
	}
	writeJSON(w, http.StatusOK, set)
}
