package auth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/introspection"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// asking has the verifier ask its issuer, which knows it as gateway.
func (g *gate) asking(changes ...func(*introspection.Config)) func(*VerifierConfig) {
	g.idp.AddClient(idp.Client{ID: "gateway", Secret: "a secret & more"})
	config := &introspection.Config{
		Endpoint: g.idp.IntrospectionURL(), ClientID: "gateway", ClientSecret: "a secret & more", Cache: 10 * time.Second,
	}
	for _, change := range changes {
		change(config)
	}
	return func(c *VerifierConfig) { c.Issuers[0].Introspection = config }
}

func signedAnswers(c *introspection.Config) { c.Signed = true }
func allTokens(c *introspection.Config)     { c.All = true }

// What an issuer says of an opaque token is read as a JWT's claims are.
func TestOpaqueToken(t *testing.T) {
	g := newGate(t)
	for name, v := range map[string]*Verifier{"plain": g.verifier(g.asking()), "signed": g.verifier(g.asking(signedAnswers))} {
		t.Run(name, func(t *testing.T) {
			token := g.idp.Opaque(map[string]any{"sub": "bob", "groups": []string{"ops"}, "scope": "a b", "sid": "1"})
			caller := letIn(t, v, token)
			if caller.Subject() != "bob" || caller.ClientID() != "app" || caller.Kind() != KindUser || caller.Issuer() != "acme" ||
				!slices.Equal(caller.Groups(), []string{"ops"}) || !slices.Equal(caller.Scopes(), []string{"a", "b"}) {
				t.Errorf("the caller is %s of %s, %s, in %v with %v", caller.Subject(), caller.ClientID(), caller.Kind(), caller.Groups(), caller.Scopes())
			}
			if text, _ := caller.Text("claims.iss"); text.Value != g.idp.URL {
				t.Errorf("its issuer is %q", text.Value)
			}
			if text, _ := caller.Text("claims.active"); text.Value != "" {
				t.Error("active became a claim")
			}
			asked := g.idp.Introspections()
			if verdict := v.Verify(t.Context(), token); !verdict.Cached || g.idp.Introspections() != asked {
				t.Error("a token that is remembered was asked about")
			}
		})
	}
}

// What is said of the token is held to the rules for JWTs.
func TestAnswersAreHeldToTheRules(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking())
	for name, c := range map[string]struct {
		claims map[string]any
		want   *Refusal
	}{
		"another audience":   {map[string]any{"aud": "https://other.example.com"}, ErrAudience},
		"no audience":        {map[string]any{"aud": idp.Absent}, ErrAudience},
		"another issuer":     {map[string]any{"iss": "https://other.example.com"}, ErrIssuer},
		"no text as issuer":  {map[string]any{"iss": 1}, ErrMalformedClaims},
		"past":               {map[string]any{"exp": at(-time.Second)}, ErrExpired},
		"no end":             {map[string]any{"exp": idp.Absent}, ErrNoExpiry},
		"an end in quotes":   {map[string]any{"exp": fmt.Sprint(at(time.Hour))}, ErrMalformedClaims},
		"not begun":          {map[string]any{"nbf": at(time.Hour)}, ErrNotYetValid},
		"no subject":         {map[string]any{"sub": idp.Absent}, ErrNoSubject},
		"bound":              {map[string]any{"cnf": map[string]any{"jkt": strings.Repeat("A", 43)}}, ErrBound},
		"a refresh token":    {map[string]any{"token_type": "refresh_token"}, ErrTokenType},
		"Keycloak's refresh": {map[string]any{"token_type": idp.Absent, "typ": "Refresh"}, ErrTokenType},
		"Hydra's refresh":    {map[string]any{"token_use": "refresh_token"}, ErrTokenType},
		"an ID token":        {map[string]any{"token_type": idp.Absent, "nonce": "x"}, ErrTokenType},
		"DPoP without a key": {map[string]any{"token_type": "DPoP"}, ErrTokenType},
		"type of two":        {map[string]any{"token_type": []string{"Bearer"}}, ErrTokenType},
		"no type":            {map[string]any{"token_type": idp.Absent}, nil},
		"Hydra's access":     {map[string]any{"token_use": "access_token"}, nil},
		"no issuer":          {map[string]any{"iss": idp.Absent}, nil},
		"in lower case":      {map[string]any{"token_type": "bearer"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			token := g.idp.Opaque(c.claims)
			if c.want == nil {
				letIn(t, v, token)
				return
			}
			refused(t, v, token, c.want)
			if e := v.Explain(t.Context(), token, &Registration{Accounts: nobody{}}, nil, nil); reasonOf(e.Refusal) != c.want.Reason {
				t.Errorf("explained as %v", e.Refusal)
			}
		})
	}
}

// The answers to be taken for none say nothing about the token.
func TestAnswersThatAreNone(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking())
	good := fmt.Sprintf(`"sub":"jane","aud":%q,"exp":%d`, idp.DefaultAudience, at(time.Hour))
	for name, body := range map[string]string{
		"active in quotes": `{"active":"true",` + good + `}`,
		"active as one":    `{"active":1,` + good + `}`,
		"active twice":     `{"active":true,"active":true,` + good + `}`,
		"both":             `{"active":false,"active":true,` + good + `}`,
		"active in case":   `{"Active":true,` + good + `}`,
		"no active":        `{` + good + `}`,
		"null":             `{"active":null,` + good + `}`,
		"twice inside":     `{"active":true,` + good + `,"a":{"b":1,"b":2}}`,
		"a list":           `[{"active":true,` + good + `}]`,
		"two":              `{"active":true,` + good + `}{}`,
		"nothing":          ``,
		"a page":           `<html>log in</html>`,
		"no UTF-8":         `{"active":true,` + good + `,"a":"` + "\xff" + `"}`,
		"a megabyte":       `{"active":true,` + good + `,"a":"` + strings.Repeat("a", 1<<20) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			g.idp.SetBody(idp.Introspection, []byte(body))
			defer g.idp.SetBody(idp.Introspection, nil)
			verdict := refused(t, v, g.idp.Opaque(nil), ErrNoAnswer)
			if verdict.Refusal.Status != 503 || verdict.Refusal.RetryAfter < time.Second || verdict.Issuer != "acme" {
				t.Errorf("got %+v", verdict.Refusal)
			}
		})
	}
	letIn(t, v, g.idp.Opaque(nil))
}

// A token that was good is asked about again, and out when its issuer says so.
func TestRevokedToken(t *testing.T) {
	g := newGate(t)
	for name, c := range map[string]struct {
		v    *Verifier
		mint func() string
	}{
		"opaque": {g.verifier(g.asking()), func() string { return g.idp.Opaque(nil) }},
		"JWT": {g.verifier(g.asking(allTokens)), func() string {
			token := g.idp.Mint(map[string]any{"sub": "jane"})
			g.idp.Know(token, map[string]any{"jti": idp.Absent})
			return token
		}},
	} {
		t.Run(name, func(t *testing.T) {
			token := c.mint()
			letIn(t, c.v, token)
			g.clock.advance(11 * time.Second)
			if verdict := c.v.Verify(t.Context(), token); verdict.Cached || verdict.Refusal != nil {
				t.Errorf("after the time that answers serve: %+v", verdict)
			}
			g.idp.Revoke(token)
			g.clock.advance(8 * time.Second)
			if verdict := c.v.Verify(t.Context(), token); !verdict.Cached {
				t.Errorf("while the answer serves: %+v", verdict)
			}
			g.clock.advance(2 * time.Second)
			refused(t, c.v, token, ErrInactive)
			if n, _ := c.v.Cached(); n != 0 {
				t.Errorf("%d tokens are cached", n)
			}
			asked := g.idp.Introspections()
			refused(t, c.v, token, ErrInactive)
			if g.idp.Introspections() != asked {
				t.Error("it was asked again at once whether a token is active that was not")
			}
		})
	}
}

// An answer never serves longer than the token lives.
func TestAnswersEndWithTheToken(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking(func(c *introspection.Config) { c.Cache = time.Hour }))
	token := g.idp.Opaque(map[string]any{"exp": at(time.Minute)})
	letIn(t, v, token)
	g.clock.advance(time.Minute)
	refused(t, v, token, ErrExpired)
}

func TestWithoutACacheOfAnswersEachRequestAsks(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking(func(c *introspection.Config) { c.Cache = 0 }))
	token := g.idp.Opaque(nil)
	for i := range 3 {
		if verdict := v.Verify(t.Context(), token); verdict.Refusal != nil || verdict.Cached || g.idp.Introspections() != i+1 {
			t.Fatalf("request %d: %+v, %d questions", i, verdict, g.idp.Introspections())
		}
	}
	g.idp.Revoke(token)
	refused(t, v, token, ErrInactive)
}

// While the issuer is down, nobody knows of new tokens, and of others for a while.
func TestIssuerThatDoesNotAnswer(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking())
	known, fresh := g.idp.Opaque(nil), g.idp.Opaque(nil)
	letIn(t, v, known)
	g.idp.SetDown(true)
	refused(t, v, fresh, ErrNoAnswer)
	letIn(t, v, known)
	g.clock.advance(11 * time.Second)
	refused(t, v, known, ErrNoAnswer)
	g.idp.SetDown(false)
	letIn(t, v, known)
	letIn(t, v, fresh)
}

// A JWT goes to nobody but who it says issued it, and a token to one issuer only.
func TestWhoIsAsked(t *testing.T) {
	g, other := newGate(t), newGate(t)
	v := g.verifier(g.asking(func(c *introspection.Config) { c.Prefixes = []string{"acme_", "acme_x_"} }), func(c *VerifierConfig) {
		policy := other.policy()
		policy.Name = "other"
		second := AcceptedIssuer{Policy: policy, Keys: other.engine}
		wrapped := VerifierConfig{Issuers: []AcceptedIssuer{second}}
		other.asking()(&wrapped)
		c.Issuers = append(c.Issuers, wrapped.Issuers...)
	})
	stranger := newGate(t).idp.Mint(nil)
	head, rest, _ := strings.Cut(stranger, ".")
	for name, token := range map[string]string{
		"JWT of a stranger":    stranger,
		"encrypted":            base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"dir","enc":"A128GCM"}`)) + "....",
		"cut short":            head + "." + rest[:20],
		"mark before":          base64.RawURLEncoding.EncodeToString([]byte("\ufeff{\"alg\":\"ES256\"}")) + "." + rest,
		"spaces before":        base64.RawURLEncoding.EncodeToString([]byte(" \n\t{\"alg\":\"ES256\"}")) + "." + rest,
		"standard base64":      base64.StdEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"??>>"}`)) + "." + rest,
		"not a token's letter": "acme_a&active=true",
		"percent":              "acme_%26",
		"newline":              "acme_a\nb",
	} {
		if verdict := v.Verify(t.Context(), token); verdict.Token != nil || g.idp.Introspections()+other.idp.Introspections() != 0 {
			t.Fatalf("%s: sent to an issuer, or let in: %+v", name, verdict)
		}
	}
	for _, one := range []struct {
		token string
		of    *idp.Issuer
	}{
		{g.idp.OpaqueLike("acme_", nil), g.idp},
		{g.idp.OpaqueLike("acme_x_", nil), g.idp},
		{other.idp.OpaqueLike("", nil), other.idp},
		{other.idp.OpaqueLike("a.b.c", nil), other.idp},
	} {
		before := g.idp.Introspections() + other.idp.Introspections()
		asked := one.of.Introspections()
		letIn(t, v, one.token)
		if one.of.Introspections() != asked+1 || g.idp.Introspections()+other.idp.Introspections() != before+1 {
			t.Errorf("%q was not sent to one issuer only", one.token)
		}
	}
	refused(t, v, g.idp.OpaqueLike("", nil), ErrInactive) // the other issuer knows nothing of it
	alone := g.verifier(g.asking(func(c *introspection.Config) { c.Prefixes = []string{"acme_"} }))
	asked := g.idp.Introspections()
	if refused(t, alone, g.idp.OpaqueLike("acm", nil), ErrNotJWS); g.idp.Introspections() != asked {
		t.Error("a token without the prefix was sent")
	}
}

// JWTs are asked about where the operator says so, and what is answered counts.
func TestJWTsThatAreAskedAbout(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking(allTokens))
	jwt := func(claims, answer map[string]any) string {
		token := g.idp.Mint(claims)
		if answer["jti"] == nil {
			answer["jti"] = idp.Absent
		}
		g.idp.Know(token, answer)
		return token
	}
	// Such as Keycloak's lightweight tokens, which do not say for whom they are.
	light := jwt(map[string]any{"sub": idp.Absent, "aud": idp.Absent, "sid": "1"}, map[string]any{"sub": "jane", "groups": []string{"ops"}})
	caller := letIn(t, v, light)
	if caller.Subject() != "jane" || !slices.Equal(caller.Groups(), []string{"ops"}) || caller.Kind() != KindUser {
		t.Errorf("the caller is %s, %s, in %v", caller.Subject(), caller.Kind(), caller.Groups())
	}
	short := letIn(t, v, jwt(map[string]any{"sub": "jane", "exp": at(time.Minute)}, map[string]any{"exp": at(time.Hour)}))
	if !short.ExpiresAt().Equal(epoch.Add(time.Minute)) {
		t.Errorf("it lives until %s, longer than it says", short.ExpiresAt())
	}
	key := func(c string) map[string]any { return map[string]any{"jkt": strings.Repeat(c, 43)} }
	for name, c := range map[string]struct {
		token string
		want  *Refusal
	}{
		"unknown to its issuer": {g.idp.Mint(nil), ErrInactive},
		"another audience":      {jwt(map[string]any{"sub": "jane", "aud": idp.Absent}, map[string]any{"aud": "x"}), ErrAudience},
		"no audience anywhere":  {jwt(map[string]any{"sub": "jane", "aud": idp.Absent}, map[string]any{"aud": idp.Absent}), ErrAudience},
		"ends before":           {jwt(map[string]any{"sub": "jane"}, map[string]any{"exp": at(-1)}), ErrExpired},
		"somebody else":         {jwt(map[string]any{"sub": "bob"}, map[string]any{}), ErrNoAnswer},
		"another token":         {jwt(map[string]any{"sub": "jane", "jti": "1"}, map[string]any{"jti": "2"}), ErrNoAnswer},
		"bound by the answer":   {jwt(map[string]any{"sub": "jane"}, map[string]any{"cnf": key("A")}), ErrBound},
		"of another issuer":     {jwt(map[string]any{"sub": "jane"}, map[string]any{"iss": "https://other.example.com"}), ErrIssuer},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, c.token, c.want) })
	}
	asked := g.idp.Introspections()
	refused(t, v, flipped(g.idp.Mint(nil)), ErrSignature)
	refused(t, v, g.idp.Mint(map[string]any{"aud": "x"}), ErrAudience)
	if g.idp.Introspections() != asked {
		t.Error("it was asked about a JWT that is no good by itself")
	}
	letIn(t, g.verifier(g.asking()), g.idp.Mint(nil))
	if g.idp.Introspections() != asked {
		t.Error("it was asked about a JWT though only opaque tokens are to be")
	}
}

func flipped(token string) string { return token[:len(token)-6] + "AAAAAA" }

// The client may stand in for the audience where that is written, for access tokens.
func TestClientAsAudience(t *testing.T) {
	g := newGate(t)
	withClient := with(func(p *Policy) { p.Audiences = []string{"app"} })
	v := g.verifier(withClient, g.asking(func(c *introspection.Config) { c.ClientAsAudience = true }))
	letIn(t, v, g.idp.Opaque(map[string]any{"aud": idp.Absent}))
	refused(t, v, g.idp.Opaque(map[string]any{"aud": idp.Absent, "token_type": idp.Absent}), ErrAudience)
	refused(t, v, g.idp.Opaque(map[string]any{"aud": "x"}), ErrAudience)
	refused(t, v, g.idp.Opaque(map[string]any{"aud": idp.Absent, "client_id": "another"}), ErrAudience)
	refused(t, g.verifier(withClient, g.asking()), g.idp.Opaque(map[string]any{"aud": idp.Absent}), ErrAudience)
	refused(t, v, g.idp.Mint(map[string]any{"aud": idp.Absent, "client_id": "app", "token_type": "Bearer"}), ErrAudience)
}

// A token that its issuer says is bound is for the holder of the key only.
func TestOpaqueTokenThatIsBound(t *testing.T) {
	g, h := newGate(t), newHolder(t)
	v := g.verifier(g.asking(), with(func(p *Policy) { p.Bound = BoundDPoP }))
	token := g.idp.Opaque(map[string]any{"token_type": "DPoP", "cnf": map[string]any{"jkt": h.thumbprint}})
	checker, err := bound.NewChecker(bound.Config{Replays: bound.NewReplays(10, time.Minute), Now: g.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is remembered
		verdict := v.Verify(t.Context(), token)
		if verdict.Token != nil || !verdict.IsBound() {
			t.Fatalf("let in without a proof: %+v", verdict)
		}
		if checked := verdict.CheckSender(checker, h.request(t, token, g.clock.now(), "")); checked.Token == nil {
			t.Fatalf("refused with a proof: %v", checked.Refusal)
		}
		if checked := verdict.CheckSender(checker, newHolder(t).request(t, token, g.clock.now(), "")); checked.Token != nil {
			t.Fatal("let in with another's key")
		}
	}
	refused(t, v, g.idp.Opaque(nil), senderRefusalOf(t, "dpop_only"))
}

// senderRefusalOf gives the refusal of a reason.
func senderRefusalOf(t *testing.T, reason string) *Refusal {
	t.Helper()
	for _, r := range SenderRefusals() {
		if r.Reason == reason {
			return r
		}
	}
	t.Fatalf("no refusal is called %s", reason)
	return nil
}

// Signed answers must be signed by their issuer, now and for whom asked.
func TestSignedAnswers(t *testing.T) {
	g := newGate(t, "ES256", "RS256")
	v := g.verifier(g.asking(signedAnswers), with(func(p *Policy) { p.Algorithms = []string{"ES256"} }))
	const media = "application/token-introspection+jwt"
	inner := map[string]any{"active": true, "sub": "jane", "aud": idp.DefaultAudience, "exp": at(time.Hour)}
	answer := func(claims map[string]any, options ...idp.MintOption) []byte {
		all := map[string]any{"aud": "gateway", "sub": idp.Absent, "exp": idp.Absent, "token_introspection": inner}
		for name, value := range claims {
			all[name] = value
		}
		return []byte(g.idp.Mint(all, append([]idp.MintOption{idp.WithHeader("typ", "token-introspection+jwt")}, options...)...))
	}
	plainText, err := json.Marshal(inner)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body  []byte
		media string
		good  bool
	}{
		"good":              {answer(nil), media, true},
		"for several":       {answer(map[string]any{"aud": []string{"x", "gateway"}}), media, true},
		"not signed":        {plainText, "application/json", false},
		"said to be signed": {plainText, media, false},
		"said to be plain":  {answer(nil), "application/json", false},
		"for another":       {answer(map[string]any{"aud": "another"}), media, false},
		"of another":        {answer(map[string]any{"iss": "https://other.example.com"}), media, false},
		"old":               {answer(map[string]any{"iat": at(-2 * time.Minute)}), media, false},
		"of tomorrow":       {answer(map[string]any{"iat": at(2 * time.Minute)}), media, false},
		"undated":           {answer(map[string]any{"iat": idp.Absent}), media, false},
		"an access token":   {answer(nil, idp.WithHeader("typ", "at+jwt")), media, false},
		"another algorithm": {answer(nil, idp.WithAlg("RS256")), media, false},
		"unsigned":          {answer(nil, idp.WithHeader("alg", "none"), idp.WithSigner(idp.NoSignature)), media, false},
		"another's key":     {answer(nil, idp.WithHeader("kid", "theirs")), media, false},
		"changed":           {[]byte(flipped(string(answer(nil)))), media, false},
		"empty":             {answer(map[string]any{"token_introspection": idp.Absent}), media, false},
		"a text":            {answer(map[string]any{"token_introspection": "active"}), media, false},
	} {
		t.Run(name, func(t *testing.T) {
			g.idp.SetAnswer(idp.Introspection, idp.Answer{Body: c.body, ContentType: c.media})
			g.clock.advance(time.Second) // so that a missing key may be looked for again
			token := g.idp.Opaque(nil)
			if c.good {
				letIn(t, v, token)
				return
			}
			refused(t, v, token, ErrNoAnswer)
		})
	}
	// Nobody may have a signed answer where it was not asked for.
	g.idp.SetAnswer(idp.Introspection, idp.Answer{Body: answer(nil), ContentType: media})
	refused(t, g.verifier(g.asking()), g.idp.Opaque(nil), ErrNoAnswer)
	// And an answer is no access token.
	refused(t, g.verifier(with(func(p *Policy) { p.Audiences = []string{"gateway"} })),
		string(answer(map[string]any{"sub": "jane", "exp": at(time.Hour)}, idp.WithHeader("typ", "at+jwt"))), ErrTokenType)
}

// The examples of RFC 7662, section 2.2.
func TestExamplesOfAnswers(t *testing.T) {
	active := `{"active": true, "client_id": "l238j323ds-23ij4", "username": "jdoe", "scope": "read write dolphin",
		"sub": "Z5O3upPC88QrAjx00dis", "aud": "https://protected.example.net/resource", "iss": "https://server.example.com/",
		"exp": 1419356238, "iat": 1419350238, "extension_field": "twenty-seven"}`
	g := newGate(t)
	g.clock.nanoseconds.Store(time.Unix(1419350300, 0).UnixNano())
	engine, err := issuer.New(issuer.Config{Issuer: "https://server.example.com/", JWKSFile: g.file}, issuer.Options{Now: g.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	v := g.verifier(g.asking(), func(c *VerifierConfig) {
		c.Issuers[0].Keys = engine
		c.Issuers[0].Policy.Issuer, c.Issuers[0].Policy.Audiences = "https://server.example.com/", []string{"https://protected.example.net/resource"}
	})
	g.idp.SetBody(idp.Introspection, []byte(active))
	caller := letIn(t, v, "2YotnFZFEjr1zCsicMWpAA")
	if field, _ := caller.Text("claims.extension_field"); caller.Subject() != "Z5O3upPC88QrAjx00dis" || field.Value != "twenty-seven" ||
		!slices.Equal(caller.Scopes(), []string{"read", "write", "dolphin"}) {
		t.Errorf("the caller is %s with %v", caller.Subject(), caller.Scopes())
	}
	g.idp.SetBody(idp.Introspection, []byte(`{"active": false}`))
	refused(t, v, "mF_9.B5f-4.1JqM", ErrInactive)
}

// RFC 9701, section 5, by an issuer of another name, as nobody has the key of its own:
// the resource server is the client that asks.
func TestExampleOfASignedAnswer(t *testing.T) {
	g := newGate(t)
	const payload = `{"iss": %q, "aud": "https://rs.example.com/resource", "iat": 1514797892,
		"token_introspection": {"active": true, "iss": %q, "aud": "https://rs.example.com/resource", "iat": 1514797822,
			"exp": 1514797942, "client_id": "paiB2goo0a", "scope": "read write dolphin", "sub": "Z5O3upPC88QrAjx00dis",
			"birthdate": "1982-02-01", "given_name": "John", "family_name": "Doe", "jti": "t1FoCCaZd4Xv4ORJUWVUeTZfsKhW30CQCrWDDjwXy6w"}}`
	g.clock.nanoseconds.Store(time.Unix(1514797892, 0).UnixNano())
	v := g.verifier(g.asking(signedAnswers, func(c *introspection.Config) { c.ClientID = "https://rs.example.com/resource" }),
		with(func(p *Policy) { p.Audiences = []string{"https://rs.example.com/resource"} }))
	signed := g.idp.Mint(nil, idp.WithHeader("typ", "token-introspection+jwt"), idp.WithRawPayload(fmt.Appendf(nil, payload, g.idp.URL, g.idp.URL)))
	g.idp.SetAnswer(idp.Introspection, idp.Answer{Status: 200, Body: []byte(signed), ContentType: "application/token-introspection+jwt"})
	if caller := letIn(t, v, "2YotnFZFEjr1zCsicMWpAA"); caller.Subject() != "Z5O3upPC88QrAjx00dis" || caller.claim("jti").text.Value == "" || caller.ClientID() != "paiB2goo0a" {
		t.Errorf("the caller is %s of %s", caller.Subject(), caller.ClientID())
	}
}

// What providers answer, as their documents and servers show it, read as the recipes
// say.
func TestAnswersOfProviders(t *testing.T) {
	for name, c := range map[string]struct {
		body            string
		policy          func(*Policy)
		subject, client string
		groups          []string
		kind            Kind
	}{
		"Keycloak": {
			`{"exp":EXP,"iat":IAT,"jti":"559a70fe","iss":"ISS","aud":["account","https://gateway.example.com"],"sub":"1541e579","typ":"Bearer","azp":"shop","sid":"d539c307",
				"preferred_username":"nikolas","email_verified":false,"acr":"1","realm_access":{"roles":["ops"]},"resource_access":{"account":{"roles":["view-profile"]}},
				"scope":"email profile","client_id":"shop","username":"nikolas","token_type":"Bearer","active":true}`,
			func(p *Policy) { p.Preset = "keycloak" }, "1541e579", "shop", []string{"ops"}, KindUser,
		},
		"Zitadel": {
			`{"active":true,"scope":"openid profile","client_id":"78366401571647008","token_type":"Bearer","exp":EXP,"iat":IAT,"nbf":IAT,"sub":"165460784409737834",
				"aud":["78366401571647008","69234237810729019"],"iss":"ISS","jti":"162707668502577762","username":"minnie@acme.com","name":"Minnie",
				"urn:zitadel:iam:org:project:69234237810729019:roles":{"ops":{"223281986649719041":"acme.com"}}}`,
			func(p *Policy) {
				p.Preset, p.Audiences, p.Kind = "zitadel", []string{"69234237810729019"}, KindUser
			}, "165460784409737834", "78366401571647008", []string{"ops"}, KindUser,
		},
		"Ory Hydra": {
			`{"active":true,"scope":"read","client_id":"ci","sub":"ci","exp":EXP,"iat":IAT,"nbf":IAT,"aud":["https://gateway.example.com"],"iss":"ISS",
				"token_type":"Bearer","token_use":"access_token","ext":{"groups":["ops"]}}`,
			func(p *Policy) { p.GroupsClaim = "ext.groups" }, "ci", "ci", []string{"ops"}, KindServiceAccount,
		},
		"Stytch": {
			`{"active":true,"aud":["https://gateway.example.com"],"client_id":"app","exp":EXP,"iat":IAT,"iss":"ISS","scope":"openid","sub":"member","token_type":"access_token","request_id":"r","status_code":200}`,
			func(*Policy) {}, "member", "app", nil, KindUnclear,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			v := g.verifier(g.asking(), with(c.policy))
			g.idp.SetBody(idp.Introspection, []byte(strings.NewReplacer("EXP", fmt.Sprint(at(time.Hour)), "IAT", fmt.Sprint(at(0)), "ISS", g.idp.URL).Replace(c.body)))
			caller := letIn(t, v, "ory_at_x.y")
			if caller.Subject() != c.subject || caller.ClientID() != c.client || !slices.Equal(caller.Groups(), c.groups) || caller.Kind() != c.kind {
				t.Errorf("the caller is %s of %s, %s, in %v", caller.Subject(), caller.ClientID(), caller.Kind(), caller.Groups())
			}
		})
	}
}

// A thousand requests with a token that nobody has seen make one question.
func TestOneQuestionForAToken(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking())
	token := g.idp.Opaque(nil)
	hold := g.idp.Hang(idp.Introspection)
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if verdict := v.Verify(t.Context(), token); verdict.Refusal != nil {
				t.Error(verdict.Refusal.Cause)
			}
		})
	}
	<-hold.Arrived()
	hold.Release()
	all.Wait()
	if n := g.idp.Introspections(); n != 1 {
		t.Errorf("%d questions about one token", n)
	}
}

// An issuer that hangs is in nobody else's way, and neither are invented tokens in
// the way of tokens that were good.
func TestIssuerThatHangs(t *testing.T) {
	g, other := newGate(t), newGate(t)
	v := g.verifier(g.asking(func(c *introspection.Config) { c.Prefixes = []string{"acme_"} }), func(c *VerifierConfig) {
		policy := other.policy()
		policy.Name = "other"
		wrapped := VerifierConfig{Issuers: []AcceptedIssuer{{Policy: policy, Keys: other.engine}}}
		other.asking()(&wrapped)
		c.Issuers = append(c.Issuers, wrapped.Issuers...)
	})
	good := g.idp.OpaqueLike("acme_", nil)
	letIn(t, v, good)
	hold := g.idp.Hang(idp.Introspection)
	ctx := t.Context()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() { v.Verify(ctx, fmt.Sprintf("acme_invented%d", i)) })
	}
	for range 32 {
		<-hold.Arrived()
	}
	letIn(t, v, other.idp.Opaque(nil))
	letIn(t, v, good)
	letIn(t, v, g.idp.Mint(nil))
	g.clock.advance(11 * time.Second)
	all.Go(func() { v.Verify(ctx, good) })
	<-hold.Arrived() // it has its own place
	hold.Release()
	all.Wait()
}

// What an explanation tells of a question, and what it does not.
func TestExplainTellsWhatWasAsked(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking(allTokens))
	registration := &Registration{Accounts: nobody{}}
	echo := "a-token-that-comes-back"
	g.idp.Know(echo, map[string]any{"sid": "1", "access_token": echo, "nested": map[string]any{"t": echo}})
	e := v.Explain(t.Context(), echo, registration, nil, nil)
	if e.Refusal != nil || e.Issuer != "acme" {
		t.Fatalf("refused: %v", e.Refusal)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), echo) || !strings.Contains(string(text), g.idp.IntrospectionURL()) || !strings.Contains(string(text), "asked as gateway") {
		t.Errorf("it says %s", text)
	}
	want := []string{"bearer", "form", "introspection", "issuer", "type", "expiry", "begin", "lifetime", "audience", "binding", "subject", "still_good", "revocation", "kind", "account"}
	if got := ruleNames(e); !slices.Equal(got, want) {
		t.Errorf("the rules are %v", got)
	}
	e = v.Explain(t.Context(), "unknown", registration, nil, nil)
	if not, _ := broken(e); reasonOf(e.Refusal) != "inactive" || !slices.Equal(not, []string{"introspection"}) {
		t.Errorf("%v, and not held are %v", e.Refusal, not)
	}
	jwt := g.idp.Mint(map[string]any{"sub": "jane"})
	g.idp.Know(jwt, map[string]any{"jti": idp.Absent, "sid": "1", "extra": "said"})
	e = v.Explain(t.Context(), jwt, registration, nil, nil)
	if e.Refusal != nil || !strings.Contains(string(e.Claims), `"extra":"said"`) || !slices.Contains(ruleNames(e), "introspection") || !slices.Contains(ruleNames(e), "signature") {
		t.Errorf("%v with %s and %v", e.Refusal, e.Claims, ruleNames(e))
	}
	g.idp.SetAnswer(idp.Introspection, idp.Answer{Status: http.StatusUnauthorized})
	e = v.Explain(t.Context(), "another", registration, nil, nil)
	found := e.Rules[slices.IndexFunc(e.Rules, func(r bound.Rule) bool { return r.Rule == "introspection" })].Found
	if reasonOf(e.Refusal) != "introspection_unavailable" || !strings.Contains(fmt.Sprint(found), "status 401") {
		t.Errorf("%v: %v", e.Refusal, found)
	}
}

func TestIssuersThatCannotBeToldApart(t *testing.T) {
	g, other := newGate(t), newGate(t)
	config := VerifierConfig{Issuers: []AcceptedIssuer{{Policy: g.policy(), Keys: g.engine}, {Policy: other.policy(), Keys: other.engine}}}
	config.Issuers[1].Policy.Name = "other"
	g.asking()(&config)
	config.Issuers[1].Introspection = config.Issuers[0].Introspection
	if _, err := NewVerifier(config); err == nil || !strings.Contains(err.Error(), `issuers "acme" and "other" both have introspection without a prefix`) {
		t.Errorf("got %v", err)
	}
}
