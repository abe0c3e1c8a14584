package activation

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// Each bad activation has its code, takes no seat, and repeats no token.
func TestBadActivations(t *testing.T) {
	s := newSite(t)
	s.terms["second"] = s.terms["acme"]
	over := s.terms["acme"]
	over.Until = time.Now().Add(-time.Minute)
	s.terms["over"] = over
	n := s.start()
	other, err := idp.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })

	login := func(nonce string) idp.Login { return idp.Login{ClientID: testClient, Nonce: nonce} }
	nonce := func() string { return n.nonce("app", "acme") }
	with := func(claims map[string]any, options ...idp.MintOption) string {
		all := map[string]any{
			"sub": person.Subject, "groups": person.Groups, "aud": testClient, "nonce": nonce(),
		}
		maps.Copy(all, claims)
		return n.provider.Mint(all, append([]idp.MintOption{idp.WithAlg("ES256"), idp.WithHeader("typ", "JWT")}, options...)...)
	}
	set := func(name string, value any) func(map[string]any) {
		return func(wish map[string]any) { wish[name] = value }
	}
	token := func(text string) func(map[string]any) { return set("id_token", text) }
	without := func(names ...string) func(map[string]any) {
		return func(wish map[string]any) {
			for _, name := range names {
				delete(wish, name)
			}
		}
	}
	now := n.clock.now()
	unsigned := func() string {
		parts := strings.Split(with(nil), ".")
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	}
	changed := func() string {
		parts := strings.Split(with(nil), ".")
		return parts[0] + "." + strings.Split(with(map[string]any{"sub": "another"}), ".")[1] + "." + parts[2]
	}
	for name, c := range map[string]struct {
		edit func(map[string]any)
		code sso.Code
	}{
		"token of another issuer":      {token(other.IDToken(person, login(nonce()))), sso.CodeInvalidIDToken},
		"another iss":                  {token(with(map[string]any{"iss": "https://login.other.example"})), sso.CodeInvalidIDToken},
		"another client":               {token(with(map[string]any{"aud": "another"})), sso.CodeInvalidIDToken},
		"no audience":                  {token(with(map[string]any{"aud": nil})), sso.CodeInvalidIDToken},
		"issued to another":            {token(with(map[string]any{"azp": "another"})), sso.CodeInvalidIDToken},
		"azp is no text":               {token(with(map[string]any{"azp": 1})), sso.CodeInvalidIDToken},
		"several audiences, no azp":    {token(with(map[string]any{"aud": []string{testClient, "another"}})), sso.CodeInvalidIDToken},
		"audience is no list of texts": {token(with(map[string]any{"aud": []any{testClient, nil}, "azp": testClient})), sso.CodeInvalidIDToken},
		"login for another account":    {token(with(map[string]any{"nonce": n.nonce("app", "second")})), sso.CodeInvalidIDToken},
		"login for another product":    {token(with(map[string]any{"nonce": n.nonce("other", "acme")})), sso.CodeInvalidIDToken},
		"expired":                      {token(with(map[string]any{"exp": now.Add(-2 * time.Minute).Unix()})), sso.CodeInvalidIDToken},
		"no exp":                       {token(with(map[string]any{"exp": nil})), sso.CodeInvalidIDToken},
		"no iat":                       {token(with(map[string]any{"iat": nil})), sso.CodeInvalidIDToken},
		"iat in the future":            {token(with(map[string]any{"iat": now.Add(time.Hour).Unix()})), sso.CodeInvalidIDToken},
		"iat before the login":         {token(with(map[string]any{"iat": now.Add(-time.Hour).Unix()})), sso.CodeInvalidIDToken},
		"nbf in the future":            {token(with(map[string]any{"nbf": now.Add(time.Hour).Unix()})), sso.CodeInvalidIDToken},
		"nbf is no number":             {token(with(map[string]any{"nbf": "1"})), sso.CodeInvalidIDToken},
		"no nonce":                     {token(with(map[string]any{"nonce": nil})), sso.CodeInvalidIDToken},
		"a nonce of its own":           {token(with(map[string]any{"nonce": "own"})), sso.CodeInvalidIDToken},
		"a nonce with another prefix":  {token(with(map[string]any{"nonce": "x." + nonce()})), sso.CodeInvalidIDToken},
		"no subject":                   {token(with(map[string]any{"sub": nil})), sso.CodeInvalidIDToken},
		"subject with a line feed":     {token(with(map[string]any{"sub": "a\nb"})), sso.CodeInvalidIDToken},
		"alg none":                     {token(unsigned()), sso.CodeInvalidIDToken},
		"changed":                      {token(changed()), sso.CodeInvalidIDToken},
		"critical header":              {token(with(nil, idp.WithHeader("crit", []string{"x"}))), sso.CodeInvalidIDToken},
		"unknown key":                  {token(with(nil, idp.WithHeader("kid", "unknown"))), sso.CodeInvalidIDToken},
		"no JWT":                       {token("token"), sso.CodeInvalidIDToken},
		"an access token":              {token(n.provider.PersonToken(person, idp.Login{ClientID: testClient})), sso.CodeInvalidIDToken},
		"outside of claim":             {token(with(map[string]any{"groups": []string{"visitors"}})), sso.CodeUserNotAllowed},
		"without the claim":            {token(with(map[string]any{"groups": nil})), sso.CodeUserNotAllowed},
		"claim of another type":        {token(with(map[string]any{"groups": map[string]any{"license-users": true}})), sso.CodeUserNotAllowed},
		"a longer group":               {token(with(map[string]any{"groups": "license-users2"})), sso.CodeUserNotAllowed},
		"neither credential":           {without("id_token"), sso.CodeMissingParameters},
		"both credentials":             {set("code", "x"), sso.CodeValidation},
		"verifier with a token":        {set("code_verifier", strings.Repeat("x", 43)), sso.CodeValidation},
		"huge token":                   {token(strings.Repeat("x", maxIDToken+1)), sso.CodeValidation},
		"foreign product":              {set("product", "nothing"), sso.CodeUnknownProduct},
		"unknown account":              {set("customer_account_code", "nobody"), sso.CodeAccountNotFound},
		"account without licenses":     {set("customer_account_code", "plain"), sso.CodeLicenseNotEnabled},
		"beyond the contract":          {set("customer_account_code", "over"), sso.CodeLicenseExpired},
		"host outside the patterns":    {set("hosts", []string{"gw.acme.example", "evil.example"}), sso.CodeHostsNotAllowed},
		"hosts are no list":            {set("hosts", "gw.acme.example"), sso.CodeValidation},
		"257 hosts":                    {set("hosts", strings.Split(strings.Repeat("a.acme.example ", 257), " ")[:257]), sso.CodeValidation},
		"no hardware_id":               {without("hardware_id"), sso.CodeMissingParameters},
		"empty hardware_id":            {set("hardware_id", ""), sso.CodeMissingParameters},
		"huge hardware_id":             {set("hardware_id", strings.Repeat("x", 257)), sso.CodeValidation},
		"hardware_id with a control":   {set("hardware_id", "a\x07b"), sso.CodeValidation},
		"hardware_id is a number":      {set("hardware_id", 1), sso.CodeValidation},
		"no product":                   {without("product"), sso.CodeMissingParameters},
		"no account":                   {without("customer_account_code"), sso.CodeMissingParameters},
		"a license key":                {set("license_key", "x"), sso.CodeValidation},
		"a password":                   {set("password", "x"), sso.CodeValidation},
		"unknown member":               {set("more", "x"), sso.CodeValidation},
		"code with control characters": {func(w map[string]any) { delete(w, "id_token"); w["code"] = "a\nb" }, sso.CodeValidation},
		"short verifier":               {func(w map[string]any) { delete(w, "id_token"); w["code"], w["code_verifier"] = "a", "b" }, sso.CodeValidation},
		"unknown code":                 {func(w map[string]any) { delete(w, "id_token"); w["code"] = "a" }, sso.CodeInvalidCode},
		"foreign redirect_uri": {func(w map[string]any) {
			delete(w, "id_token")
			w["code"], w["redirect_uri"] = "a", "https://evil.example"
		}, sso.CodeValidation},
	} {
		t.Run(name, func(t *testing.T) {
			wish := n.wish("one")
			c.edit(wish)
			answer := n.post(Activate, wish)
			refused(t, answer, c.code)
			if given, _ := wish["id_token"].(string); len(given) > 8 && strings.Contains(string(answer.Body), given[:min(len(given), 40)]) {
				t.Errorf("the token is repeated: %s", answer.Body)
			}
		})
	}
	for body, code := range map[string]sso.Code{
		"": sso.CodeMissingParameters, "{": sso.CodeInvalidJSON, "[]": sso.CodeInvalidJSON, "{}{}": sso.CodeInvalidJSON,
		`{"product":"app","product":"app"}`: sso.CodeInvalidJSON, "\xff": sso.CodeInvalidJSON, "{}": sso.CodeMissingParameters,
	} {
		refused(t, n.post(Activate, []byte(body)), code)
	}
	late := n.wish("one")
	n.clock.advance(16 * time.Minute)
	late["id_token"] = with(map[string]any{"nonce": func() string {
		n.clock.advance(-16 * time.Minute)
		defer n.clock.advance(16 * time.Minute)
		return nonce()
	}()})
	refused(t, n.post(Activate, late), sso.CodeInvalidIDToken)
	if n.taken() != 0 {
		t.Errorf("%d seats", n.taken())
	}
}

// A caller's own limits count, and a check of another's seat finds nothing.
func TestBadCallers(t *testing.T) {
	n := newSite(t).start()
	first := granted(t, n.post(Activate, n.wish("one")))
	ask := func(apiKey string, query url.Values) sso.Response {
		return n.service.Answer(t.Context(), Check, sso.Request{Header: n.by(apiKey), RawQuery: query.Encode()}, "", nil)
	}
	good := func() url.Values {
		return url.Values{"product": {"app"}, "hardware_id": {"one"}, "license_key": {first.ID}}
	}
	granted(t, ask(testKey, good()))
	refused(t, ask("nobody", good()), sso.CodeInvalidAPIKey)
	refused(t, ask("narrow", good()), sso.CodeAPIKeyProduct)
	refused(t, ask("elsewhere", good()), sso.CodeLicenseNotFound)
	refused(t, n.service.Answer(t.Context(), Activate, sso.Request{}, "", nil), sso.CodeMissingHeaders)
	for name, c := range map[string]struct {
		value string
		code  sso.Code
	}{
		"product":     {"other", sso.CodeLicenseNotFound},
		"hardware_id": {"two", sso.CodeDeviceNotFound},
		"license_key": {strings.ToUpper(first.ID), sso.CodeLicenseNotFound},
		"id_token":    {"x", sso.CodeValidation},
	} {
		query := good()
		query.Set(name, c.value)
		refused(t, ask(testKey, query), c.code)
		query = good()
		query.Del(name)
		if name != "id_token" {
			refused(t, ask(testKey, query), sso.CodeMissingParameters)
		}
	}
	query := good()
	query.Add("product", "app")
	refused(t, ask(testKey, query), sso.CodeValidation)
	query = good()
	query.Set("app_ver", "1")
	granted(t, ask(testKey, query))
}

// A login counts once: on this node, on another one, and after a restart.
func TestUsedTwice(t *testing.T) {
	s := newSite(t)
	first, second := s.start(), s.start()
	wish := first.wish("one")
	granted(t, first.post(Activate, wish))
	refused(t, first.post(Activate, wish), sso.CodeIDTokenUsed)
	wish["hardware_id"] = "two"
	refused(t, first.post(Activate, wish), sso.CodeIDTokenUsed)
	refused(t, second.post(Activate, wish), sso.CodeIDTokenUsed)
	_ = first.store.Close()
	_ = second.store.Close()
	third := s.start()
	refused(t, third.post(Activate, wish), sso.CodeIDTokenUsed)
	if third.taken() != 1 {
		t.Errorf("%d seats", third.taken())
	}
}

// A client's own nonce stays in front of ours.
func TestOwnNonce(t *testing.T) {
	n := newSite(t).start()
	nonce := n.begin("app", "acme", "nonce", "a.b").Get("nonce")
	if !strings.HasPrefix(nonce, "a.b.") {
		t.Fatal(nonce)
	}
	wish := n.wish("one")
	wish["id_token"] = n.provider.IDToken(person, idp.Login{ClientID: testClient, Nonce: nonce})
	granted(t, n.post(Activate, wish))
	another := "_"
	if strings.HasSuffix(nonce, another) {
		another = "-"
	}
	for i, wrong := range []string{"a.c" + nonce[3:], nonce[2:], nonce[4:], nonce[:len(nonce)-1] + another} {
		wish := n.wish(fmt.Sprint(i))
		wish["id_token"] = n.provider.IDToken(person, idp.Login{ClientID: testClient, Nonce: wrong})
		refused(t, n.post(Activate, wish), sso.CodeInvalidIDToken)
	}
}
