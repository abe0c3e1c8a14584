package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// Caller is who asks the API to do something.
type Caller struct {
	// Principal is nil for a caller of the admin endpoint without a token.
	Principal *auth.Principal

	// Admin tells whether the caller may administer.
	Admin bool
}

// adminEndpoint names callers of the admin endpoint without a token.
const adminEndpoint = "admin-endpoint"

// Name is what the audit log calls the caller: the issuer's name and the
// subject.
func (c Caller) Name() string {
	if c.Principal == nil {
		return adminEndpoint
	}
	return c.Principal.Issuer() + "/" + c.Principal.Subject()
}

// noIssuer says why no token is good here.
func (a *API) noIssuer() string {
	if len(a.services.Issuers) == 0 {
		return "no issuer is configured, so no token is good here: add `issuer https://… { audience … }`"
	}
	return "several issuers are configured: the option `api { issuer … }` must say whose tokens may administer"
}

// trusts tells whether the caller may do everything without a token. A client
// that has none may send the scheme alone, as hoop's command does.
func (p Place) trusts(r *http.Request) bool {
	if !p.Trusted {
		return false
	}
	values := r.Header["Authorization"]
	return len(values) == 0 || len(values) == 1 && strings.EqualFold(strings.TrimSpace(values[0]), "Bearer")
}

// who says which callers an endpoint lets in.
type who int

const (
	anyone   who = iota // no token is looked at
	anyToken            // a good token of the API's issuer
	admins              // … of the admin group
	signers             // … of the group that may sign licenses
)

// authenticate tells who is calling, and refuses callers that are not let in.
func (a *API) authenticate(w http.ResponseWriter, r *http.Request, place Place, who who) (Caller, error) {
	if place.trusts(r) {
		return Caller{Admin: true}, nil
	}
	if a.services.Authenticate == nil {
		return Caller{}, problem(http.StatusForbidden, a.noIssuer())
	}
	principal, refusal := a.services.Authenticate(r, a.groupsOf(who)...)
	if refusal != nil {
		return Caller{Principal: principal}, a.refused(w, refusal)
	}
	return Caller{Principal: principal, Admin: a.services.AdminGroup.check(principal) == nil}, nil
}

// groupsOf names the groups of which a caller must be in one; none: no matter.
func (a *API) groupsOf(who who) []Group {
	switch who {
	case admins:
		return []Group{a.services.AdminGroup}
	case signers:
		return []Group{a.services.SigningGroup}
	}
	return nil
}

// Group is a group whose members may do something over the API.
type Group struct {
	Name string

	// Registered: only accounts make members. The group is a default, and what
	// tokens call groups is for others than the operator to choose.
	Registered bool
}

// check refuses who is no member, and who shows what may be an ID token: whatever
// application somebody logged in to has one.
func (g Group) check(caller *auth.Principal) *auth.Refusal {
	groups := caller.Groups()
	if g.Registered {
		groups = caller.RegisteredGroups()
	}
	switch {
	case !slices.Contains(groups, g.Name):
		return auth.ErrGroup
	case caller.HasIDTokenMarks():
		return auth.ErrTokenType
	}
	return nil
}

// CheckGroups refuses callers who are in none of the groups. Without groups it
// refuses nobody.
func CheckGroups(caller *auth.Principal, groups []Group) (refusal *auth.Refusal) {
	for _, group := range groups {
		if refusal = group.check(caller); refusal == nil {
			return nil
		}
	}
	return refusal
}

// refused words a refusal, with the challenge that belongs to it.
func (a *API) refused(w http.ResponseWriter, refusal *auth.Refusal) error {
	if challenge := (auth.Challenge{Realm: realm}).Header(refusal); challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	return &Problem{Status: refusal.Status, Message: refusal.Message, RetryAfter: refusal.RetryAfter}
}

const realm = "gatehouse"

// userInfo describes the caller.
type userInfo struct {
	ID        string   `json:"id"`
	Subject   string   `json:"subject"`
	Name      string   `json:"name"`
	Email     string   `json:"email"`
	Status    string   `json:"status"`
	Groups    []string `json:"groups"`
	IsAdmin   bool     `json:"is_admin"`
	Kind      string   `json:"kind"`
	Issuer    string   `json:"issuer"`
	ClientID  string   `json:"client_id"`
	Scopes    []string `json:"scopes"`
	ExpiresAt *string  `json:"expires_at"` // RFC 3339; null where nothing expires
}

// userinfo tells the caller who the gateway takes them for.
func (a *API) userinfo(c *call) error {
	writeJSON(c.w, http.StatusOK, a.describe(c.caller))
	return nil
}

func (a *API) describe(caller Caller) userInfo {
	p := caller.Principal
	if p == nil {
		return userInfo{
			ID: adminEndpoint, Subject: adminEndpoint, Name: adminEndpoint, Status: "active",
			Groups: []string{}, Scopes: []string{}, IsAdmin: caller.Admin, Kind: string(auth.KindServiceAccount),
		}
	}
	expires := p.ExpiresAt().Format(time.RFC3339)
	return userInfo{
		ID:        p.ID(),
		Subject:   p.Subject(),
		Name:      textOf(p, "name"),
		Email:     textOf(p, "email"),
		Status:    "active",
		Groups:    listOf(p.Groups()),
		IsAdmin:   caller.Admin,
		Kind:      string(p.Kind()),
		Issuer:    p.Issuer(),
		ClientID:  p.ClientID(),
		Scopes:    listOf(p.Scopes()),
		ExpiresAt: &expires,
	}
}

func textOf(p *auth.Principal, key string) string {
	text, _ := p.Text(key)
	return text.Value
}

// listOf makes an empty list of none: null would surprise.
func listOf(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// explanation says what became of a token, check by check. The claims are the
// token's own; its signature is never shown.
type explanation struct {
	Verdict string         `json:"verdict"` // let_in or refused
	Reason  string         `json:"reason"`  // of the refusal; empty if let in
	Message string         `json:"message"`
	Issuer  string         `json:"issuer"` // the configured name that the token claims; empty: none
	Rules   []auth.Rule    `json:"rules"`
	Claims  jsontext.Value `json:"claims"` // null if they cannot be read
}

// The verdicts of an explanation.
const (
	verdictLetIn   = "let_in"
	verdictRefused = "refused"
)

// explainToken holds a token against every rule that it would meet, but for
// those of a route. A refused token is no error here.
func (a *API) explainToken(c *call) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	var ask struct {
		Token *string `json:"token"`
	}
	if err := json.Unmarshal(body, &ask, json.RejectUnknownMembers(true)); err != nil {
		return problem(http.StatusBadRequest, `expected {"token": "…"} and no other or repeated member`)
	}
	if ask.Token == nil || *ask.Token == "" {
		return problem(http.StatusUnprocessableEntity, "token: expected the token, without the word Bearer")
	}
	answer, err := json.Marshal(explain(c.r.Context(), a.services.Operation.Explain, *ask.Token))
	if err != nil {
		return err
	}
	writeRaw(c.w, answer)
	return nil
}

func explain(ctx context.Context, ask func(context.Context, string) auth.Explanation, token string) explanation {
	e := ask(ctx, token)
	answer := explanation{Verdict: verdictLetIn, Message: "the token is good", Issuer: e.Issuer, Rules: e.Rules, Claims: e.Claims}
	if e.Refusal != nil {
		answer.Verdict, answer.Reason, answer.Message = verdictRefused, e.Refusal.Reason, e.Refusal.Message
	}
	return answer
}

// writeRaw answers with a JSON document that was made already.
func writeRaw(w http.ResponseWriter, document []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(document, '\n'))
}

// unescaped is a part of a path, percent-decoded once; what cannot be decoded
// is taken as it is.
func unescaped(part string) string {
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}
