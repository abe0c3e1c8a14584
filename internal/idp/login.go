package idp

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// challengeS256 is the one code challenge method that is known (RFC 7636 §4.2).
const challengeS256 = "S256"

// errNoWayBack is shown to the person, because it is not known where to lead back to.
var errNoWayBack = badRequest("invalid_request", "the application or its redirect address is not known here")

// authorization is a request for a login (RFC 6749 §§4.1.1 and 4.2.1, OpenID
// Connect Core §3.1.2.1).
type authorization struct {
	client    Client
	redirect  string
	types     []string // of the response
	scopes    []string
	state     string
	nonce     string
	challenge string
}

// serveLogin shows the login page, and takes the form that it sends. Both have
// the request in the query, so nothing is kept between them.
func (i *Issuer) serveLogin(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	a, refusal := i.application(query)
	if err != nil || refusal != nil {
		writePage(w, http.StatusBadRequest, page{Problem: errNoWayBack.Description})
		return
	}
	if refusal := a.read(query); refusal != nil {
		a.leadBack(w, url.Values{"error": {refusal.Code}, "error_description": {refusal.Description}})
		return
	}
	if r.Method != http.MethodPost {
		writePage(w, http.StatusOK, page{Application: a.client.ID})
		return
	}
	person, problem := i.person(w, r)
	if problem != "" {
		writePage(w, http.StatusForbidden, page{Application: a.client.ID, Problem: problem})
		return
	}
	answer, refusal := i.answerLogin(a, person)
	if refusal != nil {
		answer = url.Values{"error": {refusal.Code}}
	}
	a.leadBack(w, answer)
}

// application finds out where to lead back to. Until that is sure, nothing may
// (RFC 6749 §4.1.2.1).
func (i *Issuer) application(query url.Values) (*authorization, *oauthError) {
	ids, redirects := query["client_id"], query["redirect_uri"]
	if len(ids) != 1 || len(redirects) != 1 {
		return nil, errNoWayBack
	}
	client, known := i.client(ids[0])
	fits := func(listed string) bool { return redirectFits(listed, redirects[0]) }
	if !known || !slices.ContainsFunc(client.RedirectURIs, fits) {
		return nil, errNoWayBack
	}
	a := &authorization{client: client, redirect: redirects[0], state: query.Get("state")}
	a.types = strings.Fields(query.Get("response_type"))
	return a, nil
}

// redirectFits compares byte for byte, but for the port on loopback.
func redirectFits(listed, wanted string) bool {
	if listed == wanted {
		return true
	}
	l, errListed := url.Parse(listed)
	w, errWanted := url.Parse(wanted)
	if errListed != nil || errWanted != nil || l.Scheme != "http" || !slices.Contains([]string{"127.0.0.1", "[::1]", "localhost"}, strings.TrimSuffix(l.Host, ":"+l.Port())) {
		return false
	}
	host := strings.TrimSuffix(l.Host, ":"+l.Port())
	if w.Port() != "" {
		host += ":" + w.Port()
	}
	return strings.Replace(listed, "http://"+l.Host, "http://"+host, 1) == wanted
}

// read takes the rest of the request.
func (a *authorization) read(query url.Values) *oauthError {
	for _, values := range query {
		if len(values) > 1 {
			return badRequest("invalid_request", "a parameter is repeated")
		}
	}
	slices.Sort(a.types)
	if !slices.Contains([]string{"code", "id_token", "id_token token", "token"}, strings.Join(a.types, " ")) {
		return badRequest("unsupported_response_type", "response_type must be code, token, id_token, or id_token token")
	}
	a.scopes = strings.Fields(query.Get("scope"))
	if len(a.scopes) == 0 {
		a.scopes = loginScopes
	}
	for _, s := range a.scopes {
		if !slices.Contains(a.client.Scopes, s) && !slices.Contains(loginScopes, s) {
			return badRequest("invalid_scope", "the application may not ask for that scope")
		}
	}
	a.nonce = query.Get("nonce")
	if a.nonce == "" && slices.Contains(a.types, "id_token") {
		return badRequest("invalid_request", "an ID token needs a nonce") // OpenID Connect Core §3.2.2.1
	}
	return a.readChallenge(query)
}

func (a *authorization) readChallenge(query url.Values) *oauthError {
	a.challenge = query.Get("code_challenge")
	switch {
	case a.challenge != "" && query.Get("code_challenge_method") != challengeS256:
		return badRequest("invalid_request", "code_challenge_method must be S256")
	case a.challenge == "" && a.client.Secret == "" && slices.Contains(a.types, "code"):
		return badRequest("invalid_request", "a public client needs a code_challenge")
	}
	return nil
}

// person returns who sent the form, or what is wrong with it.
func (i *Issuer) person(w http.ResponseWriter, r *http.Request) (Person, string) {
	form, refusal := readForm(w, r)
	if refusal != nil {
		return Person{}, refusal.Description
	}
	known, ok := i.opts.people[form.Get("username")]
	same := subtle.ConstantTimeCompare([]byte(known.password), []byte(form.Get("password"))) == 1
	if !ok || !same {
		return Person{}, "That name and that password do not belong together."
	}
	return known.person, ""
}

// answerLogin makes what the application asked for.
func (i *Issuer) answerLogin(a *authorization, p Person) (url.Values, *oauthError) {
	l := login{
		client: a.client, person: p,
		Login: Login{ClientID: a.client.ID, Audience: a.client.Audience, Scopes: a.scopes, Nonce: a.nonce},
	}
	if slices.Contains(a.types, "code") {
		return url.Values{"code": {i.codes.issue(issuedCode{login: l, redirect: a.redirect, challenge: a.challenge}, i.opts.now())}}, nil
	}
	tokens, err := i.loginTokens(l, slices.Contains(a.types, "id_token"), slices.Contains(a.types, "token"))
	if err != nil {
		return nil, errNoKey
	}
	return tokens.fragment(), nil
}

// leadBack sends the browser to the application: with a code in the query, with
// tokens in the fragment, which no server sees.
func (a *authorization) leadBack(w http.ResponseWriter, answer url.Values) {
	if a.state != "" {
		answer.Set("state", a.state)
	}
	separator := "#"
	if !slices.Contains(a.types, "id_token") && !slices.Contains(a.types, "token") {
		separator = "?"
		if strings.Contains(a.redirect, "?") {
			separator = "&"
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", a.redirect+separator+answer.Encode())
	w.WriteHeader(http.StatusSeeOther)
}
