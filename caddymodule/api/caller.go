package api

import (
	"crypto/sha256"
	"encoding/pem"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// adminEndpoint names callers of the admin endpoint without a token.
const adminEndpoint = "admin-endpoint"

// actor is what the audit log calls the caller: the issuer's name and the subject.
func (c *call) actor() string {
	if c.principal == nil {
		return adminEndpoint
	}
	return c.principal.Issuer() + "/" + c.principal.Subject()
}

// noIssuer says why no token is good here.
func (a *API) noIssuer() string {
	if len(a.services.Issuers) == 0 {
		return "no issuer is configured, so no token is good here: add `issuer https://… { audience … }`"
	}
	return "several issuers are configured: the option `api { issuer … }` must say whose tokens may administer"
}

// mayDoAll reports whether the caller is trusted and brings no token. A client without
// one may send the scheme alone, as hoop's command does.
func (c *call) mayDoAll() bool {
	if !c.trusted {
		return false
	}
	values := c.r.Header["Authorization"]
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

const realm = "gatehouse"

// authenticate finds out who is calling, and refuses callers that are not let in.
func (a *API) authenticate(c *call, who who) error {
	if c.mayDoAll() {
		c.admin = true
		return nil
	}
	if a.services.Authenticate == nil {
		return problem(http.StatusForbidden, a.noIssuer())
	}
	var groups []Group // the caller must be in one of them; none: any caller may
	switch who {
	case admins:
		groups = []Group{a.services.AdminGroup}
	case signers:
		groups = []Group{a.services.SigningGroup}
	}
	principal, refusal := a.services.Authenticate(c.r, groups...)
	if refusal != nil {
		if challenge := (auth.Challenge{Realm: realm}).Header(auth.Bearer, refusal); challenge != "" {
			c.w.Header().Set("WWW-Authenticate", challenge)
		}
		return refused(refusal)
	}
	c.principal, c.admin = principal, a.services.AdminGroup.check(principal) == nil
	return nil
}

// Group is a group whose members may do something over the API.
type Group struct {
	Name string

	// Registered: only accounts make members. The group is a default, and what
	// tokens call groups is for others than the operator to choose.
	Registered bool
}

// check refuses callers who are not members, and those whose token may be an ID token:
// every application that somebody has logged in to holds one.
func (g Group) check(caller *auth.Principal) *auth.Refusal {
	groups := caller.Groups()
	if g.Registered {
		groups = nil
		if own := caller.Account(); own != nil {
			groups = own.Groups()
		}
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

// userinfo tells callers whom the gateway takes them for.
func (a *API) userinfo(c *call) error {
	p := c.principal
	if p == nil {
		writeJSON(c.w, http.StatusOK, userInfo{
			ID: adminEndpoint, Subject: adminEndpoint, Name: adminEndpoint, Status: "active",
			Groups: []string{}, Scopes: []string{}, IsAdmin: c.admin, Kind: string(auth.KindServiceAccount),
		})
		return nil
	}
	expires := p.ExpiresAt().Format(time.RFC3339)
	name, _ := p.Text("name")
	email, _ := p.Text("email")
	writeJSON(c.w, http.StatusOK, userInfo{
		ID:        p.ID(),
		Subject:   p.Subject(),
		Name:      name.Value,
		Email:     email.Value,
		Status:    "active",
		Groups:    append([]string{}, p.Groups()...), // never null
		IsAdmin:   c.admin,
		Kind:      string(p.Kind()),
		Issuer:    p.Issuer(),
		ClientID:  p.ClientID(),
		Scopes:    append([]string{}, p.Scopes()...),
		ExpiresAt: &expires,
	})
	return nil
}

// Explanation is the answer about a token, check by check. The claims are the token's
// own; its signature is never shown.
type Explanation struct {
	Verdict string         `json:"verdict"` // let_in or refused
	Reason  string         `json:"reason"`  // of the refusal; empty if let in
	Message string         `json:"message"`
	Issuer  string         `json:"issuer"` // the configured name that the token claims; empty: none
	Rules   []bound.Rule   `json:"rules"`
	Claims  jsontext.Value `json:"claims"` // null if they cannot be read
}

// explained is what is asked about: a token, and who sends it with what proof.
type explained struct {
	token       string
	rule        string // what a route's rules are called; empty: none are asked
	proof       string // a DPoP proof; empty: none
	method, url string // of the request that the proof is for
	certificate string // the client's, in PEM; empty: none
}

const expectedExplained = `expected {"token": "…"}, with a proof also "proof", "method" and "url", with a client certificate "certificate", with the name of a route's rules "rule", and no other or repeated member`

// sender is the request to explain; nil for a bearer's.
func (e *explained) sender() (*bound.Request, error) {
	unprocessable := func(message string) error { return problem(http.StatusUnprocessableEntity, message) }
	if e.token == "" {
		return nil, unprocessable("token: expected the token, without the word Bearer")
	}
	if (e.proof == "") != (e.method == "") || (e.proof == "") != (e.url == "") {
		return nil, unprocessable("proof, method and url: expected all of them or none: a proof is for one method and one URL")
	}
	if e.proof == "" && e.certificate == "" {
		return nil, nil
	}
	q := &bound.Request{Method: e.method}
	if e.proof != "" {
		u, err := url.Parse(e.url)
		if err != nil {
			return nil, unprocessable("url: expected the URL of the request such as https://gw.example.com/a")
		}
		base, err := bound.Base(u.Scheme, u.Host)
		if err != nil {
			return nil, unprocessable("url: expected the URL of the request such as https://gw.example.com/a")
		}
		q.DPoP, q.Proofs, q.Bases, q.Target = true, []string{e.proof}, []string{base}, u.EscapedPath()
	}
	if e.certificate != "" {
		block, rest := pem.Decode([]byte(e.certificate))
		if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
			return nil, unprocessable("certificate: expected one certificate in PEM")
		}
		sum := sha256.Sum256(block.Bytes)
		q.Certificate = sum[:]
	}
	return q, nil
}

// rulesOf gives the rules of a route by their name; nil where none are asked for.
func (a *API) rulesOf(name string) (*auth.Predicate, error) {
	if name == "" {
		return nil, nil
	}
	var rules *auth.Predicate
	var names []string
	if find := a.services.Operation.Rules; find != nil {
		rules, names = find(name)
	}
	switch {
	case rules != nil:
		return rules, nil
	case len(names) == 0:
		return nil, problem(http.StatusUnprocessableEntity, "rule: no rules have a name: write `name` in a bearer_auth")
	}
	return nil, problem(http.StatusUnprocessableEntity, "rule: no rules are called so, expected one of: "+strings.Join(names, ", "))
}

// explainToken checks a token against every rule that it would meet, and against those
// of a route if they are named. A refused token is no error here.
func (a *API) explainToken(c *call) error {
	var asked explained
	err := expected(expectedExplained, c.readMembers(strictjson.Fields{
		"token": text(&asked.token), "proof": text(&asked.proof), "method": text(&asked.method), "url": text(&asked.url),
		"certificate": text(&asked.certificate), "rule": text(&asked.rule),
	}))
	if err != nil {
		return err
	}
	rules, err := a.rulesOf(asked.rule)
	if err != nil {
		return err
	}
	sender, err := asked.sender()
	if err != nil {
		return err
	}
	e := a.services.Operation.Explain(c.r.Context(), asked.token, sender)
	message := "the token is good; no rules of a route were asked"
	if rules != nil {
		e.HoldRules(rules)
		message = "the token is good"
	}
	answer := Explanation{Verdict: letIn, Message: message, Issuer: e.Issuer, Rules: e.Rules, Claims: e.Claims}
	if e.Refusal != nil {
		answer.Verdict, answer.Reason, answer.Message = "refused", e.Refusal.Reason, e.Refusal.Message
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	start(c.w, http.StatusOK, "application/json")
	_, _ = c.w.Write(append(body, '\n'))
	return nil
}
