package idp

import (
	"crypto/rand"
	"maps"
	"net/http"
	"strings"
)

// Opaque gives a token that says nothing by itself, of which the introspection
// endpoint (RFC 7662) says these claims, over those of any token of the issuer. A
// claim that is Absent is left out.
func (i *Issuer) Opaque(claims map[string]any) string { return i.OpaqueLike("", claims) }

// OpaqueLike is Opaque for a token that begins with a prefix.
func (i *Issuer) OpaqueLike(prefix string, claims map[string]any) string {
	token := prefix + rand.Text() + rand.Text()
	i.Know(token, claims)
	return token
}

// Know has the introspection endpoint say these claims of any token, such as a JWT.
func (i *Issuer) Know(token string, claims map[string]any) {
	now := i.opts.now().Unix()
	all := map[string]any{
		"iss": i.URL, "sub": "jane", "client_id": "app", "token_type": "Bearer", "jti": rand.Text(),
		"aud": audienceClaim(i.opts.audience), "iat": now, "exp": now + 3600,
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == Absent })
	i.mu.Lock()
	defer i.mu.Unlock()
	i.known[token] = all
}

// Revoke has a token not be active any more.
func (i *Issuer) Revoke(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.known, token)
}

// serveIntrospection answers questions about tokens, to clients that prove who they
// are (RFC 7662, section 2), signed if they ask for that (RFC 9701, section 4).
func (i *Issuer) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	form, refusal := readForm(w, r)
	if refusal == nil && form.Get("token") == "" {
		refusal = badRequest("invalid_request", "token is missing")
	}
	var client Client
	if refusal == nil {
		client, refusal = i.authenticate(r, form)
	}
	if refusal != nil {
		if refusal.challenge {
			w.Header().Set("WWW-Authenticate", `Basic realm="introspection"`)
		}
		writeJSON(w, refusal.status, refusal)
		return
	}
	answer := i.introspect(form.Get("token"))
	if !strings.Contains(r.Header.Get("Accept"), introspectionType) {
		writeJSON(w, http.StatusOK, answer)
		return
	}
	signed := i.Mint(map[string]any{
		"aud": client.ID, "sub": Absent, "exp": Absent, "jti": Absent, "token_introspection": answer,
	}, WithHeader("typ", introspectionType))
	w.Header().Set("Content-Type", "application/"+introspectionType)
	// A caller that has gone away is no matter for the issuer.
	_, _ = w.Write([]byte(signed))
}

const introspectionType = "token-introspection+jwt"

// introspect says no more of a token that is not active than that.
func (i *Issuer) introspect(token string) map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	claims, known := i.known[token]
	answer := map[string]any{"active": known}
	maps.Copy(answer, claims)
	return answer
}
