package idp

import (
	"crypto/subtle"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// tokenBodyLimit bounds what the token endpoint reads, in bytes.
const tokenBodyLimit = 64 << 10

// oauthError is a refusal of RFC 6749 §5.2.
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
	challenge   bool
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func badRequest(code, description string) *oauthError {
	return &oauthError{status: http.StatusBadRequest, Code: code, Description: description}
}

// grant is one way to a token.
type grant func(i *Issuer, form url.Values, c Client) (tokenResponse, *oauthError)

var grants = map[string]grant{
	"client_credentials": clientCredentials,
	"authorization_code": authorizationCode,
}

// tokenResponse is the success of RFC 6749 §5.1.
type tokenResponse struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope,omitempty"`
	IDToken     string `json:"id_token,omitempty"`
}

func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	res, refusal := i.token(w, r)
	if refusal != nil {
		if refusal.challenge {
			w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		}
		writeJSON(w, refusal.status, refusal)
		return
	}
	writeJSON(w, http.StatusOK, res)
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) (tokenResponse, *oauthError) {
	form, refusal := readForm(w, r)
	if refusal != nil {
		return tokenResponse{}, refusal
	}
	c, refusal := i.authenticate(r, form)
	if refusal != nil {
		return tokenResponse{}, refusal
	}
	name := form.Get("grant_type")
	if name == "" {
		return tokenResponse{}, badRequest("invalid_request", "grant_type is missing")
	}
	g, ok := grants[name]
	if !ok {
		return tokenResponse{}, badRequest("unsupported_grant_type", "only client_credentials is supported")
	}
	return g(i, form, c)
}

// readForm reads the body alone: RFC 6749 §3.2 keeps credentials out of the URL,
// and lets no parameter come twice. RFC 8707's resource may.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *oauthError) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, badRequest("invalid_request", "the body is not application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, tokenBodyLimit)
	if err := r.ParseForm(); err != nil {
		return nil, badRequest("invalid_request", "the body cannot be read as a form")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "resource" {
			return nil, badRequest("invalid_request", "a parameter is repeated")
		}
	}
	return r.PostForm, nil
}

// authenticate takes client_secret_basic or client_secret_post, never both (RFC
// 6749 §2.3).
func (i *Issuer) authenticate(r *http.Request, form url.Values) (Client, *oauthError) {
	id, secret, basic := r.BasicAuth()
	if r.Header.Get("Authorization") != "" && !basic {
		return Client{}, invalidClient("the Authorization header is not Basic")
	}
	if basic && form.Has("client_secret") {
		return Client{}, badRequest("invalid_request", "the client authenticates in two ways")
	}
	if basic {
		// RFC 6749 §2.3.1: both parts are form encoded before they are joined.
		var errID, errSecret error
		id, errID = url.QueryUnescape(id)
		secret, errSecret = url.QueryUnescape(secret)
		if errID != nil || errSecret != nil {
			return Client{}, invalidClient("the credentials are not form encoded")
		}
	} else {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	c, known := i.client(id)
	same := subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1
	if !known || !same {
		return Client{}, invalidClient("unknown client or wrong secret")
	}
	return c, nil
}

// invalidClient names the scheme that would do, as RFC 6749 §5.2 demands of
// answers to an Authorization header and RFC 9110 §11.6.1 of every 401.
func invalidClient(description string) *oauthError {
	return &oauthError{
		status: http.StatusUnauthorized, Code: "invalid_client",
		Description: description, challenge: true,
	}
}

func clientCredentials(i *Issuer, form url.Values, c Client) (tokenResponse, *oauthError) {
	if c.Secret == "" {
		return tokenResponse{}, badRequest("unauthorized_client", "a public client has no tokens of its own")
	}
	scopes := c.Scopes
	if asked := strings.Fields(form.Get("scope")); len(asked) > 0 {
		scopes = asked
	}
	for _, s := range scopes {
		if !slices.Contains(c.Scopes, s) {
			return tokenResponse{}, badRequest("invalid_scope", "the client may not ask for that scope")
		}
	}
	audience := c.Audience
	if named := slices.Concat(form["audience"], form["resource"]); len(named) > 0 {
		audience = named
	}
	claims := i.clientClaims(c, audience, scopes)
	token, err := i.mint(claims, minting{alg: c.Algorithm})
	if err != nil {
		return tokenResponse{}, errNoKey
	}
	return tokenResponse{
		AccessToken: token,
		TokenType:   "Bearer",
		ExpiresIn:   secondsLeft(claims, i),
		Scope:       strings.Join(scopes, " "),
	}, nil
}

var errNoKey = &oauthError{
	status: http.StatusInternalServerError, Code: "server_error",
	Description: "no key for the client's algorithm",
}

func secondsLeft(claims map[string]any, i *Issuer) int64 {
	exp, ok := claims["exp"].(int64)
	if !ok {
		return 0
	}
	return max(0, exp-i.opts.now().Unix())
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A caller that has gone away is no matter for the issuer.
	_ = json.NewEncoder(w).Encode(v)
}
