package caddymodule_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// withEvents has an issuer that says things, and one that is not listened to.
const withEvents = `{
	OBSERVED
	events {
		on security_event test_listener
	}
	gatehouse {
		issuer ISSUER {
			name NAME
			audience https://gateway.example.com
			events {
				audience https://events.example.com
				backchannel_logout portal
				PUSH
				global_revocation https://gateway.example.com/gatehouse/issuers/NAME/revoke
			}
		}
		issuer OTHER {
			name NAME-other
			audience https://gateway.example.com
		}
		service_accounts {
			refresh 50ms
		}
		api {
			issuer NAME
		}
	}
}
http://SITE {
	bind 127.0.0.1
	gatehouse_api
	handle /metrics {
		metrics
	}
	handle {
		bearer_auth
		respond "in"
	}
}
`

// eventGateway is a gateway that listens to an issuer.
type eventGateway struct {
	*gateway
	name          string
	issuer, other *idp.Issuer
}

// startEvents starts withEvents; push is its line.
func startEvents(t *testing.T, push string) *eventGateway {
	t.Helper()
	g := &eventGateway{name: unique("said"), issuer: newIssuer(t), other: newIssuer(t)}
	g.gateway = start(t, withEvents, "PUSH", push, "OBSERVED", globals+"\n\tmetrics", "ISSUER", g.issuer.URL, "OTHER", g.other.URL, "NAME", g.name)
	eventually(t, "the revocations are read", func() bool { return g.get("/", bearer(g.person(g.issuer, "nobody", 0))).status == http.StatusOK })
	return g
}

// at is the address of one of the ways that events come.
func (g *eventGateway) at(way string) string { return "/gatehouse/issuers/" + g.name + "/" + way }

// typed is a body of a media type.
func typed(mediaType, text string) edit {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", mediaType)
		body(text, int64(len(text)))(r)
	}
}

const (
	typeSET    = "application/secevent+jwt"
	typeForm   = "application/x-www-form-urlencoded"
	caepEvents = "https://schemas.openid.net/secevent/caep/event-type/"
	riscEvents = "https://schemas.openid.net/secevent/risc/event-type/"
	logoutType = "http://schemas.openid.net/event/backchannel-logout"
)

// said signs what an issuer says, with nothing in it that is not given.
func said(issuer *idp.Issuer, typ string, c claims, more ...claims) string {
	all := claims{"iss": issuer.URL, "iat": time.Now().Unix(), "jti": rand.Text()}
	for _, some := range append([]claims{c}, more...) {
		maps.Copy(all, some)
	}
	return secret(issuer.Mint(all, idp.WithoutDefaults(), idp.WithHeader("typ", typ)))
}

func (g *eventGateway) set(event, subject string, more ...claims) string {
	return said(g.issuer, "secevent+jwt", claims{
		"aud": "https://events.example.com", "events": claims{event: claims{"event_timestamp": time.Now().Unix()}},
		"sub_id": claims{"format": "iss_sub", "iss": g.issuer.URL, "sub": subject},
	}, more...)
}

func (g *eventGateway) loggedOut(subject string, more ...claims) string {
	return said(g.issuer, "logout+jwt", claims{
		"aud": "portal", "sub": subject, "sid": "session-of-" + subject, "exp": time.Now().Add(2 * time.Minute).Unix(), "events": claims{logoutType: claims{}},
	}, more...)
}

func (g *eventGateway) request(more ...claims) string {
	return said(g.issuer, "global-token-revocation+jwt", claims{
		"aud": "https://gateway.example.com" + g.at("revoke"), "sub": "client", "exp": time.Now().Add(5 * time.Minute).Unix(),
	}, more...)
}

func (g *eventGateway) push(token string, edits ...edit) answer {
	return g.send("POST", g.at("events"), append([]edit{typed(typeSET, token)}, edits...)...)
}

func (g *eventGateway) logout(token string) answer {
	return g.send("POST", g.at("logout"), typed(typeForm, url.Values{"logout_token": {token}}.Encode()))
}

func (g *eventGateway) revokeAll(token, subID string) answer {
	return g.send("POST", g.at("revoke"), bearer(token), content(`{"sub_id":`+subID+`}`))
}

// person is a token of somebody who logged in some time ago, or later.
func (g *eventGateway) person(issuer *idp.Issuer, subject string, after time.Duration) string {
	return mint(issuer, claims{"sub": subject, "azp": "portal", "sid": "session-of-" + subject, "jti": "token-of-" + subject, "iat": time.Now().Add(after).Unix()})
}

// Each way of saying it: who holds a token is refused from the next request on, the
// others are not, and a new login passes.
func TestEventsRevoke(t *testing.T) {
	g := startEvents(t, "push")
	before := g.scrape()
	complexOf := func(who string) claims {
		return claims{"sub_id": claims{"format": "complex", "user": claims{"format": "iss_sub", "iss": g.issuer.URL, "sub": who}, "session": claims{"format": "opaque", "id": "session-of-" + who}}}
	}
	for who, c := range map[string]struct {
		say    func() answer
		status int
		kind   string
	}{
		"logged-out":    {func() answer { return g.logout(g.loggedOut("logged-out")) }, http.StatusOK, "backchannel_logout"},
		"logged-out-by": {func() answer { return g.logout(g.loggedOut("logged-out-by", claims{"sid": idp.Absent})) }, http.StatusOK, "backchannel_logout"},
		"ended":         {func() answer { return g.push(g.set(caepEvents+"session-revoked", "ended")) }, http.StatusAccepted, "session_revoked"},
		"session":       {func() answer { return g.push(g.set(caepEvents+"session-revoked", "", complexOf("session"))) }, http.StatusAccepted, "session_revoked"},
		"new-password":  {func() answer { return g.push(g.set(caepEvents+"credential-change", "new-password")) }, http.StatusAccepted, "credential_change"},
		"new-claims":    {func() answer { return g.push(g.set(caepEvents+"token-claims-change", "new-claims")) }, http.StatusAccepted, "token_claims_change"},
		"disabled":      {func() answer { return g.push(g.set(riscEvents+"account-disabled", "disabled")) }, http.StatusAccepted, "account_disabled"},
		"purged":        {func() answer { return g.push(g.set(riscEvents+"account-purged", "purged")) }, http.StatusAccepted, "account_purged"},
		"everywhere": {func() answer {
			return g.revokeAll(g.request(), `{"format":"iss_sub","iss":"`+g.issuer.URL+`","sub":"everywhere"}`)
		}, http.StatusNoContent, "global_revocation"},
	} {
		t.Run(who, func(t *testing.T) {
			old := bearer(g.person(g.issuer, who, -10*time.Minute))
			if got := g.get("/", old); got.status != http.StatusOK {
				t.Fatalf("got %d %s before", got.status, got.body)
			}
			got := c.say()
			if got.status != c.status || got.body != "" || got.header.Get("Cache-Control") != "no-store" {
				t.Fatalf("got %d %q %v, want %d", got.status, got.body, got.header, c.status)
			}
			revoked.check(t, g.get("/", old), "")
			for name, token := range map[string]string{
				"a new login": g.person(g.issuer, who, 10*time.Second), "somebody else": g.person(g.issuer, "else-"+who, -10*time.Minute), "another issuer's": g.person(g.other, who, -10*time.Minute),
			} {
				if got := g.get("/", bearer(token)); got.status != http.StatusOK {
					t.Errorf("%s: got %d %s", name, got.status, got.body)
				}
			}
			if n := len(hears("security_event", "kind", c.kind)); n == 0 {
				t.Error("no event tells of it")
			}
		})
	}
	after := g.scrape()
	if n := after.since(t, before, fmt.Sprintf(`security_events_total{issuer=%q,kind="session_revoked",outcome="revoked"}`, g.name)); n != 2 {
		t.Errorf("%v are counted, want 2", n)
	}
	if at := after[fmt.Sprintf(`security_event_timestamp_seconds{issuer=%q}`, g.name)]; time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("the last event was at %v", at)
	}
	if lines := g.logged("event.account_disabled"); len(lines) != 1 || lines[0]["actor"] != "issuer "+g.name || lines[0]["target"] != "subject disabled" || lines[0]["outcome"] != "done" {
		t.Errorf("the audit log says %v", lines)
	}
}

// An event that says nothing here is taken, and so is one that was sent again; and
// nothing comes of it.
func TestEventsWithoutEffect(t *testing.T) {
	g := startEvents(t, "push")
	again := g.set(riscEvents+"account-disabled", "carol")
	for name, token := range map[string]string{
		"unknown":      g.set("https://example.com/unknown", "alice"),
		"verification": g.set("https://schemas.openid.net/secevent/ssf/event-type/verification", "alice", claims{"sub_id": claims{"format": "opaque", "id": "stream"}}),
		"late":         g.set(riscEvents+"account-disabled", "alice", claims{"iat": time.Now().Add(-48 * time.Hour).Unix()}),
		"first":        again, "once more": again,
	} {
		if got := g.push(token); got.status != http.StatusAccepted {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
	if got := g.get("/", bearer(g.person(g.issuer, "alice", -10*time.Minute))); got.status != http.StatusOK {
		t.Errorf("got %d %s", got.status, got.body)
	}
	admin := bearer(mint(g.issuer, claims{"sub": "root", "groups": []string{"admin"}}))
	var kept []struct{ ID, Subject string }
	if err := json.Unmarshal([]byte(g.get("/api/revocations", admin).body), &kept); err != nil || len(kept) != 1 || kept[0].Subject != "carol" {
		t.Fatalf("revoked are %v, %v", kept, err)
	}
	if got := g.send("DELETE", "/api/revocations/"+kept[0].ID, admin); got.status != http.StatusNoContent {
		t.Fatalf("got %d", got.status)
	}
	if got := g.push(again); got.status != http.StatusAccepted {
		t.Errorf("got %d", got.status)
	}
	if got := g.get("/api/revocations", admin); got.body != "[]\n" {
		t.Errorf("what was taken back is revoked again: %s", got.body)
	}
	var issuers []struct {
		Name   string
		Events *struct {
			Ways      []string
			LastEvent *time.Time `json:"last_event"`
		}
	}
	if err := json.Unmarshal([]byte(g.get("/api/issuers", admin).body), &issuers); err != nil || issuers[1].Events != nil ||
		issuers[0].Events == nil || len(issuers[0].Events.Ways) != 3 || issuers[0].Events.LastEvent == nil {
		t.Errorf("the issuers are %+v, %v", issuers, err)
	}
}

// Of bad events nothing comes: everybody who was let in still is, and nobody else.
func TestBadEvents(t *testing.T) {
	g := startEvents(t, "push")
	const session = caepEvents + "session-revoked"
	stranger := newIssuer(t)
	by := func(issuer *idp.Issuer, typ string, c claims, options ...idp.MintOption) string {
		all := claims{"iss": g.issuer.URL, "iat": time.Now().Unix(), "jti": rand.Text()}
		maps.Copy(all, c)
		return secret(issuer.Mint(all, append([]idp.MintOption{idp.WithoutDefaults(), idp.WithHeader("typ", typ)}, options...)...))
	}
	sub := claims{"format": "iss_sub", "iss": g.issuer.URL, "sub": "alice"}
	forged := claims{"aud": "https://events.example.com", "events": claims{session: claims{}}, "sub_id": sub}
	about := func(id any) claims { return claims{"sub_id": id} }
	sets := map[string]struct {
		token string
		err   string
	}{
		"a stranger's key":              {by(stranger, "secevent+jwt", forged), "invalid_key"},
		"a stranger's key, of our id":   {by(stranger, "secevent+jwt", forged, idp.WithHeader("kid", firstKey(t, g.issuer)["kid"])), "invalid_key"},
		"a flipped signature":           {secret(flip(g.set(session, "alice"))), "invalid_key"},
		"alg none":                      {by(g.issuer, "secevent+jwt", forged, idp.WithHeader("alg", "none")), "invalid_key"},
		"alg HS256 with the public key": {by(g.issuer, "secevent+jwt", forged, idp.WithHeader("alg", "HS256")), "invalid_key"},
		"crit":                          {by(g.issuer, "secevent+jwt", forged, idp.WithHeader("crit", []string{"x"})), "invalid_request"},
		"an access token":               {g.person(g.issuer, "alice", 0), "invalid_request"},
		"an ID token":                   {mint(g.issuer, claims{"sub": "alice", "aud": "portal", "nonce": "n"}, idp.WithHeader("typ", "JWT")), "invalid_request"},
		"a logout token":                {g.loggedOut("alice"), "invalid_request"},
		"no typ":                        {by(g.issuer, "", forged), "invalid_request"},
		"another issuer's":              {said(g.other, "secevent+jwt", forged), "invalid_issuer"},
		"another's key, our iss":        {said(g.other, "secevent+jwt", forged, claims{"iss": g.issuer.URL}), "invalid_key"},
		"for another receiver":          {g.set(session, "alice", claims{"aud": "https://other.example.com"}), "invalid_audience"},
		"for our API, not our events":   {g.set(session, "alice", claims{"aud": "https://gateway.example.com"}), "invalid_audience"},
		"no aud":                        {g.set(session, "alice", claims{"aud": idp.Absent}), "invalid_audience"},
		"no jti":                        {g.set(session, "alice", claims{"jti": idp.Absent}), "invalid_request"},
		"no iat":                        {g.set(session, "alice", claims{"iat": idp.Absent}), "invalid_request"},
		"of the future":                 {g.set(session, "alice", claims{"iat": time.Now().Add(time.Hour).Unix()}), "invalid_request"},
		"in milliseconds":               {g.set(session, "alice", claims{"iat": time.Now().UnixMilli()}), "invalid_request"},
		"expired":                       {g.set(session, "alice", claims{"exp": time.Now().Add(-time.Hour).Unix()}), "invalid_request"},
		"a nonce":                       {g.set(session, "alice", claims{"nonce": "n"}), "invalid_request"},
		"no subject":                    {g.set(session, "alice", about(idp.Absent)), "invalid_request"},
		"a subject of another issuer":   {g.set(session, "alice", about(claims{"format": "iss_sub", "iss": g.other.URL, "sub": "alice"})), "invalid_request"},
		"a user of another issuer":      {g.set(session, "alice", about(claims{"format": "complex", "user": claims{"format": "iss_sub", "iss": g.other.URL, "sub": "alice"}, "session": claims{"format": "opaque", "id": "session-of-alice"}})), "invalid_request"},
		"an address, unasked":           {g.set(session, "alice", about(claims{"format": "email", "email": "alice@example.com"})), "invalid_request"},
		"an unknown format":             {g.set(session, "alice", about(claims{"format": "did", "url": "did:example:alice"})), "invalid_request"},
		"an empty subject":              {g.set(session, "alice", about(claims{"format": "opaque", "id": ""})), "invalid_request"},
		"a control character":           {g.set(session, "alice", about(claims{"format": "opaque", "id": "alice\n"})), "invalid_request"},
		"events of no object":           {g.set(session, "alice", claims{"events": []string{session}}), "invalid_request"},
		"an event of no object":         {g.set(session, "alice", claims{"events": claims{session: 1}}), "invalid_request"},
		"a good and a bad one":          {g.set(session, "alice", claims{"events": claims{session: claims{}, riscEvents + "account-purged": claims{"subject": "alice"}}}), "invalid_request"},
		"a claim twice":                 {by(g.issuer, "secevent+jwt", nil, idp.WithRawPayload([]byte(`{"iss":"`+g.issuer.URL+`","iss":"`+g.issuer.URL+`"}`))), "invalid_request"},
		"deep nesting":                  {by(g.issuer, "secevent+jwt", nil, idp.WithRawPayload([]byte(`{"a":`+strings.Repeat("[", 15000)+strings.Repeat("]", 15000)+`}`))), "invalid_request"},
		"not UTF-8":                     {by(g.issuer, "secevent+jwt", nil, idp.WithRawPayload([]byte("{\"a\":\"\xff\"}"))), "invalid_request"},
		"encrypted":                     {"e30.e30.e30.e30.e30", "invalid_request"},
		"empty":                         {"", "invalid_request"},
	}
	for name, c := range sets {
		t.Run(name, func(t *testing.T) {
			got := g.push(c.token)
			var answered struct{ Err, Description string }
			if err := json.Unmarshal([]byte(got.body), &answered); err != nil || got.status != http.StatusBadRequest || answered.Err != c.err || answered.Description == "" {
				t.Errorf("got %d %s, want %s", got.status, got.body, c.err)
			}
			if got.header.Get("Cache-Control") != "no-store" || strings.Contains(got.body, "alice") {
				t.Errorf("got %v %s", got.header, got.body)
			}
		})
	}
	for name, token := range map[string]string{
		"a stranger's":          by(stranger, "logout+jwt", claims{"aud": "portal", "sub": "alice", "events": claims{logoutType: claims{}}}),
		"an ID token":           mint(g.issuer, claims{"sub": "alice", "aud": "portal"}, idp.WithHeader("typ", "JWT")),
		"with a nonce":          g.loggedOut("alice", claims{"nonce": "n"}),
		"neither sub nor sid":   g.loggedOut("alice", claims{"sub": idp.Absent, "sid": idp.Absent}),
		"another client's":      g.loggedOut("alice", claims{"aud": "other"}),
		"expired":               g.loggedOut("alice", claims{"exp": time.Now().Add(-time.Hour).Unix()}),
		"old":                   g.loggedOut("alice", claims{"exp": idp.Absent, "iat": time.Now().Add(-48 * time.Hour).Unix()}),
		"another event":         g.loggedOut("alice", claims{"events": claims{session: claims{}}}),
		"a SET":                 g.set(session, "alice"),
		"empty":                 "",
		"another issuer's":      said(g.other, "logout+jwt", claims{"aud": "portal", "sub": "alice", "events": claims{logoutType: claims{}}}),
		"sub of another type":   g.loggedOut("alice", claims{"sub": []string{"alice"}}),
		"events that are texts": g.loggedOut("alice", claims{"events": claims{logoutType: "x"}}),
	} {
		if got := g.logout(token); got.status != http.StatusBadRequest || !strings.Contains(got.body, `"error":"invalid_request"`) || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("logout, %s: got %d %s", name, got.status, got.body)
		}
	}
	ours := `{"format":"iss_sub","iss":"` + g.issuer.URL + `","sub":"alice"}`
	for name, c := range map[string]struct {
		token, subID string
		status       int
	}{
		"alice's own token":   {g.person(g.issuer, "alice", 0), ours, 401},
		"a stranger's":        {by(stranger, "global-token-revocation+jwt", claims{"aud": "https://gateway.example.com" + g.at("revoke"), "exp": 4102444800}), ours, 401},
		"for another":         {g.request(claims{"aud": "https://other.example.com"}), ours, 401},
		"without an end":      {g.request(claims{"exp": idp.Absent}), ours, 401},
		"another's subject":   {g.request(), `{"format":"iss_sub","iss":"` + g.other.URL + `","sub":"alice"}`, 400},
		"an address, unasked": {g.request(), `{"format":"email","email":"alice@example.com"}`, 400},
		"nobody":              {g.request(), `null`, 400},
	} {
		if got := g.revokeAll(c.token, c.subID); got.status != c.status || (c.status == 401) != (got.header.Get("WWW-Authenticate") != "") {
			t.Errorf("revoke, %s: got %d %s", name, got.status, got.body)
		}
	}
	good := g.request()
	for name, c := range map[string]struct {
		got    answer
		status int
	}{
		"1 MiB":               {g.push(strings.Repeat("a", 1<<20)), 413},
		"1 MiB of a form":     {g.send("POST", g.at("logout"), typed(typeForm, "logout_token="+strings.Repeat("a", 1<<20))), 413},
		"1 MiB of JSON":       {g.send("POST", g.at("revoke"), bearer(good), content(`{"a":"`+strings.Repeat("a", 1<<20)+`"}`)), 413},
		"JSON":                {g.send("POST", g.at("events"), content("{}")), 400},
		"a text":              {g.send("POST", g.at("logout"), typed("text/plain", "logout_token=x")), 400},
		"two logout tokens":   {g.send("POST", g.at("logout"), typed(typeForm, "logout_token=x&logout_token=y")), 400},
		"none":                {g.send("POST", g.at("logout"), typed(typeForm, "token=x")), 400},
		"nobody's revocation": {g.send("POST", g.at("revoke"), content(`{"sub_id":`+ours+`}`)), 401},
		"by GET":              {g.get(g.at("events")), 405},
		"without events":      {g.send("POST", "/gatehouse/issuers/"+g.name+"-other/events", typed(typeSET, "x")), 404},
		"no issuer":           {g.send("POST", "/gatehouse/issuers/nobody/events", typed(typeSET, "x")), 404},
		"no such way":         {g.send("POST", g.at("poll"), typed(typeSET, "x")), 404},
	} {
		if c.got.status != c.status || strings.Contains(c.got.body, "alice") {
			t.Errorf("%s: got %d %s, want %d", name, c.got.status, c.got.body, c.status)
		}
	}
	admin := bearer(mint(g.issuer, claims{"sub": "root", "groups": []string{"admin"}}))
	if got := g.get("/api/revocations", admin); got.body != "[]\n" {
		t.Errorf("revoked are %s", got.body)
	}
	for name, token := range map[string]string{"ours": g.person(g.issuer, "alice", -10*time.Minute), "another issuer's": g.person(g.other, "alice", -10*time.Minute)} {
		if got := g.get("/", bearer(token)); got.status != http.StatusOK {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
	// No event is a token.
	for name, token := range map[string]string{
		"a SET": g.set(session, "alice", claims{"aud": "https://gateway.example.com", "sub": "alice", "exp": 4102444800}), "a request": g.request(claims{"aud": "https://gateway.example.com"}),
		"a logout token": g.loggedOut("alice", claims{"aud": "https://gateway.example.com", "typ": idp.Absent}),
	} {
		if got := g.get("/", bearer(token)); got.status != http.StatusUnauthorized {
			t.Errorf("%s lets in: %d", name, got.status)
		}
	}
}

// A sender without the bearer token that is configured is not heard.
func TestPushWithABearerToken(t *testing.T) {
	t.Setenv("PUSH_TOKEN", "of-the-transmitter")
	g := startEvents(t, "push bearer {env.PUSH_TOKEN}")
	token := g.set(riscEvents+"account-disabled", "alice")
	for name, edits := range map[string][]edit{
		"none": nil, "another": {bearer("of-the-transmitteR")}, "a longer one": {bearer("of-the-transmitter-")}, "two": {header("Authorization", "Bearer of-the-transmitter", "Bearer of-the-transmitter")},
		"a login's": {bearer(g.person(g.issuer, "alice", 0))}, "another scheme": {header("Authorization", "Basic of-the-transmitter")},
	} {
		if got := g.push(token, edits...); got.status != http.StatusUnauthorized || !strings.Contains(got.body, `"err":"authentication_failed"`) || got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
	old := bearer(g.person(g.issuer, "alice", -10*time.Minute))
	if got := g.get("/", old); got.status != http.StatusOK {
		t.Errorf("got %d", got.status)
	}
	if got := g.push(token, header("Authorization", "Bearer of-the-transmitter")); got.status != http.StatusAccepted {
		t.Errorf("got %d %s", got.status, got.body)
	}
	revoked.check(t, g.get("/", old), "")
	if strings.Contains(g.log(), "of-the-transmitter") {
		t.Error("the log holds the token")
	}
}

// With storage away the sender hears that it should send again; and then it is heard.
func TestEventsWhileStorageIsAway(t *testing.T) {
	if apart(t) {
		return
	}
	engine := faultstorage.New(faultstorage.Faults{})
	g := &eventGateway{name: unique("said"), issuer: newIssuer(t), other: newIssuer(t)}
	g.gateway = start(t, withEvents, "PUSH", "push", "OBSERVED", strings.Replace(globals, "file_system DIR/storage", "faulty "+newEngine(t, engine), 1)+"\n\tmetrics",
		"ISSUER", g.issuer.URL, "OTHER", g.other.URL, "NAME", g.name)
	old := bearer(g.person(g.issuer, "alice", -10*time.Minute))
	eventually(t, "alice is let in", func() bool { return g.get("/", old).status == http.StatusOK })
	engine.SetDown(true)
	token := g.set(riscEvents+"account-disabled", "alice")
	var sending sync.WaitGroup
	for way, send := range map[string]func() answer{"push": func() answer { return g.push(token) }, "logout": func() answer { return g.logout(g.loggedOut("bob")) }} {
		sending.Go(func() {
			if got := send(); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
				t.Errorf("%s: got %d %s %v", way, got.status, got.body, got.header)
			}
		})
	}
	sending.Wait()
	engine.SetDown(false)
	eventually(t, "it is taken", func() bool { return g.push(token).status == http.StatusAccepted })
	revoked.check(t, g.get("/", old), "")
}

// What is wrong with the options is said with file and line, and quotes no secret.
func TestEventOptionsAreChecked(t *testing.T) {
	g := prepare(t)
	const ways = "expected at least one way that they come: backchannel_logout, push, poll or global_revocation"
	for block, want := range map[string]string{
		`events`:                                               ways,
		"events {\naudience a\n}":                              ways,
		"events {\npush\n}":                                    "expected audience, which is the aud",
		"events {\nglobal_revocation\n}":                       "global_revocation: expected an audience",
		"events x {\npush\n}":                                  `events: found "x"`,
		"events {\npsh\n}":                                     `found "psh", expected one of: audience, backchannel_logout`,
		"events {\nbackchannel_logout\n}":                      "backchannel_logout: expected at least one value",
		"events {\npush bearer\n}":                             "push: expected nothing more on this line, or `bearer <token>`",
		"events {\npush hunter2\n}":                            "push: expected nothing more",
		"events {\npush\npush\n}":                              "push is set again",
		"events {\naudience a\npush\nends x\n}":                `ends: found "x", expected session or subject`,
		"events {\naudience a\npush\nmatch_email\n}":           "match_email: expected the issuer's option subject_claim",
		"events {\naudience a\npush\ntransmitter https://a\n}": "transmitter: found 1 words, expected its identifier",
		"events {\naudience a\npush\ntransmitter https://a.example http://b.example\n}": "is http to another machine",
		"events {\naudience a\npoll\n}":                                                                                  "poll: expected the address",
		"events {\naudience a\npoll ftp://x.example\n}":                                                                  "is neither https nor http",
		"events {\npoll https://x.example\n}":                                                                            "expected audience",
		"events {\naudience a\npoll https://x.example {\nevery 1ms\n}\n}":                                                "every: found 1ms, expected at least 1s",
		"events {\naudience a\npoll https://x.example {\ntoken hunter2 hunter2\n}\n}":                                    "token: expected one value",
		"events {\naudience a\npoll https://x.example {\nclient_credentials https://x.example id\n}\n}":                  "client_credentials: found 2 words",
		"events {\naudience a\npoll https://x.example {\ntoken x\nclient_credentials https://x.example id hunter2\n}\n}": "expected one of them",
		"events {\naudience a\npoll https://x.example {\nclient_credentials http://x.example id hunter2\n}\n}":           "client_credentials: \"http://x.example\" is http",
	} {
		_, err := g.adapted("{\ngatehouse {\nissuer https://login.example.com {\naudience a\n" + block + "\n}\n}\n}\n")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Caddyfile:") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want %s", block, err, want)
		}
	}
	for config, want := range map[string]string{
		`{"push":{}}`: "expected audience",
		`{"audiences":["a"],"push":{"bearer":"{env.NO_SUCH_VARIABLE}"}}`:                 "events: push: a placeholder is unknown or empty",
		`{"audiences":["a"],"poll":{"url":"https://x.example","every":1}}`:               "every: found 1ns, expected 1s to 1h0m0s",
		`{"audiences":["a"],"poll":{}}`:                                                  "expected the address of the polling endpoint",
		`{"audiences":["a"],"poll":{"url":"https://x.example","client_credentials":{}}}`: "expected the token endpoint, the client id and its secret",
		`{"audiences":["a"],"push":{},"transmitter":"https://a.example"}`:                "expected its identifier and the address of its key set",
	} {
		err := g.loadJSON([]byte(`{"admin":{"disabled":true},"apps":{"gatehouse":{"issuers":[{"issuer":"https://login.example.com","audiences":["a"],"events":` + config + `}]}}}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", config, err, want)
		}
	}
}

// startListening starts a node that listens to the issuer.
func startListening(t *testing.T, dir string, issuer *idp.Issuer) *node {
	t.Helper()
	return startNodeOf(t, dir, issuer, strings.Replace(nodeConfig, "audience https://gateway.example.com", "audience https://gateway.example.com\n\t\t\tevents {\n\t\t\t\taudience https://events.example.com\n\t\t\t\tpush\n\t\t\t}", 1))
}

// hear pushes an event to the node.
func (n *node) hear(t *testing.T, subject string) {
	t.Helper()
	token := said(n.issuer, "secevent+jwt", claims{
		"aud": "https://events.example.com", "events": claims{riscEvents + "account-disabled": claims{}}, "sub_id": claims{"format": "opaque", "id": subject},
	})
	got, err := tryOnce(n.client, "POST", n.url+"/gatehouse/issuers/acme/events", []edit{typed(typeSET, token)})
	if err != nil || got.status != http.StatusAccepted {
		t.Fatalf("got %d %s, %v", got.status, got.body, err)
	}
}

// Said to one node, heard by both.
func TestEventOnTwoNodes(t *testing.T) {
	t.Parallel()
	dir, issuer := t.TempDir(), newIssuer(t)
	first, second := startListening(t, dir, issuer), startListening(t, dir, issuer)
	if status := second.personStatus(t, "alice"); status != http.StatusOK {
		t.Fatalf("got %d before", status)
	}
	first.hear(t, "alice")
	if status := first.personStatus(t, "alice"); status != http.StatusUnauthorized {
		t.Errorf("got %d with the very next request, want 401", status)
	}
	eventually(t, "the other node refuses", func() bool { return second.personStatus(t, "alice") == http.StatusUnauthorized })
}

// Five nodes, each killed right after it answered an event.
func TestKilledRightAfterAnEvent(t *testing.T) {
	t.Parallel()
	dir, issuer := t.TempDir(), newIssuer(t)
	for round := range 5 {
		n := startListening(t, dir, issuer)
		n.hear(t, fmt.Sprint("person-", round))
		n.kill()
	}
	n := startListening(t, dir, issuer)
	for round := range 5 {
		if status := n.personStatus(t, fmt.Sprint("person-", round)); status != http.StatusUnauthorized {
			t.Errorf("got %d for what round %d heard", status, round)
		}
	}
}

// Events are fetched with the token, taken, and acknowledged when they are durable;
// through reloads, too. What fails is shown.
func TestEventsAreFetched(t *testing.T) {
	if apart(t) {
		return
	}
	issuer := newIssuer(t)
	var mu sync.Mutex
	waiting, acked, broken := map[string]string{}, map[string]bool{}, false
	sender := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Ack []string }
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer of-the-receiver" || broken || json.NewDecoder(r.Body).Decode(&asked) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		for _, id := range asked.Ack {
			delete(waiting, id)
			acked[id] = true
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(claims{"sets": waiting})
	}))
	t.Cleanup(sender.Close)
	say := func(subject string) {
		mu.Lock()
		defer mu.Unlock()
		waiting[subject] = said(issuer, "secevent+jwt", claims{
			"aud": "https://events.example.com", "jti": subject, "events": claims{caepEvents + "session-revoked": claims{}}, "sub_id": claims{"format": "opaque", "id": subject},
		})
	}
	t.Setenv("POLL_TOKEN", "of-the-receiver")
	g := &eventGateway{name: unique("polled"), issuer: issuer, other: newIssuer(t)}
	g.gateway = start(t, strings.Replace(withEvents, "PUSH", "poll "+sender.URL+" {\n\t\t\t\t\ttoken {env.POLL_TOKEN}\n\t\t\t\t\tevery 1s\n\t\t\t\t}", 1),
		"OBSERVED", globals+"\n\tmetrics", "ISSUER", issuer.URL, "OTHER", g.other.URL, "NAME", g.name)
	for round := range 3 {
		who := fmt.Sprint("alice-", round)
		say(who)
		eventually(t, "it is acknowledged", func() bool { mu.Lock(); defer mu.Unlock(); return acked[who] })
		revoked.check(t, g.get("/", bearer(g.person(issuer, who, -10*time.Minute))), "")
		if err := g.load(strings.Replace(strings.Replace(withEvents, "PUSH", "poll "+sender.URL+" {\n\t\t\t\t\ttoken {env.POLL_TOKEN}\n\t\t\t\t\tevery 1s\n\t\t\t\t}", 1), `respond "in"`, fmt.Sprintf("respond %q", who), 1)); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	broken = true
	mu.Unlock()
	admin := bearer(mint(issuer, claims{"sub": "root", "groups": []string{"admin"}}))
	eventually(t, "the failure is shown", func() bool {
		return strings.Contains(g.get("/api/issuers", admin).body, `"poll_failure":"it answered with status 401, not 200"`)
	})
	if n := g.scrape()[fmt.Sprintf(`security_event_polls_total{issuer=%q,result="failure"}`, g.name)]; n < 1 {
		t.Errorf("%v failures are counted", n)
	}
	if lines := g.logged("events cannot be fetched; the sender keeps them until they can"); len(lines) != 1 || lines[0]["level"] != "warn" {
		t.Errorf("the log says %v", lines)
	}
	if strings.Contains(g.log(), "of-the-receiver") {
		t.Error("the log holds the token")
	}
}

// An event cuts the open streams of whom it is about, and those of others go on.
func TestEventCutsStreams(t *testing.T) {
	g := startAPI(t, "name acme\n", "name acme\n\t\t\tevents {\n\t\t\t\tbackchannel_logout portal\n\t\t\t}\n")
	streams, others := g.openStreams(t, g.person("alice", nil)), g.openStreams(t, g.person("bob", nil))
	token := said(g.issuer, "logout+jwt", claims{"aud": "portal", "sid": "session-of-alice", "events": claims{logoutType: claims{}}})
	if got := g.send("POST", "/gatehouse/issuers/acme/logout", typed(typeForm, "logout_token="+token)); got.status != http.StatusOK {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	wantEnd(t, streams, revoked.message)
	wantOpen(t, others)
}

// Where no site takes events that are sent, the log says so.
func TestUnheardEventsAreToldOf(t *testing.T) {
	const warning = "issuers are to send events, and no site has gatehouse_api, which takes them: add it to the site that they are sent to"
	g := startEvents(t, "push")
	if lines := g.logged(warning); len(lines) != 0 {
		t.Errorf("the log says %v", lines)
	}
	g.vars = append([]string{"\tgatehouse_api\n", ""}, g.vars...)
	if err := g.load(withEvents); err != nil {
		t.Fatal(err)
	}
	if lines := g.logged(warning); len(lines) != 1 || lines[0]["level"] != "warn" {
		t.Errorf("the log says %v", lines)
	}
}
