package idp

import (
	"crypto/rand"
	"maps"
	"strings"
	"time"
)

// Client may ask the token endpoint for tokens of its own (RFC 6749 §4.4), and
// with RedirectURIs it is an application that people log in to.
type Client struct {
	// ID and Secret are what the client presents. Both are required, but an
	// application without a secret is a public one: it has to use PKCE (RFC 7636)
	// and gets no tokens of its own.
	ID     string
	Secret string

	// RedirectURIs are where the login page may lead back to, compared byte for
	// byte but for the port of an http address on loopback (RFC 8252 §7.3).
	// Empty: nobody logs in to the client.
	RedirectURIs []string

	// Scopes are those the client may ask for; it gets all when it asks for none.
	// An application may ask for openid, email and profile besides.
	Scopes []string

	// Groups becomes the claim `groups`. Empty: no such claim.
	Groups []string

	// Audience is the `aud` of its tokens unless the request names another with
	// `audience` or `resource` (RFC 8707). Empty: the Issuer's.
	Audience []string

	// Algorithm signs its tokens. Empty: the Issuer's default key.
	Algorithm string

	// Lifetime is how long its tokens live. Zero: an hour. Below zero, they have
	// expired when they are issued.
	Lifetime time.Duration

	// Claims are added last; Absent leaves one out.
	Claims map[string]any
}

// claims are those of RFC 9068 §2.2.
func (i *Issuer) clientClaims(c Client, audience, scopes []string) map[string]any {
	lifetime := c.Lifetime
	if lifetime == 0 {
		lifetime = time.Hour
	}
	now := i.opts.now()
	issued := now
	if lifetime < 0 {
		// A token that has expired was once good for an hour.
		issued = now.Add(lifetime - time.Hour)
	}
	claims := map[string]any{
		"sub":       c.ID,
		"azp":       c.ID,
		"client_id": c.ID,
		"iat":       issued.Unix(),
		"exp":       now.Add(lifetime).Unix(),
	}
	if len(audience) > 0 {
		claims["aud"] = audienceClaim(audience)
	}
	if len(scopes) > 0 {
		claims["scope"] = strings.Join(scopes, " ")
	}
	if len(c.Groups) > 0 {
		claims["groups"] = c.Groups
	}
	maps.Copy(claims, c.Claims)
	return claims
}

// Person is somebody who logged in somewhere.
type Person struct {
	Subject string
	Name    string
	Email   string
	Groups  []string
}

// Login is what a person's token is issued for.
type Login struct {
	// ClientID is the application that the person logged in with.
	ClientID string

	// Audience of an access token. Empty: the Issuer's.
	Audience []string

	// Scopes granted. Empty: "openid email profile".
	Scopes []string

	// Nonce is repeated in an ID token. Empty: none.
	Nonce string
}

// PersonToken is the access token of a person, without the login that would lead
// to it.
func (i *Issuer) PersonToken(p Person, l Login, opts ...MintOption) string {
	return i.Mint(accessClaims(p, l), opts...)
}

func accessClaims(p Person, l Login) map[string]any {
	claims := personClaims(p, l)
	scopes := l.Scopes
	if len(scopes) == 0 {
		scopes = loginScopes
	}
	claims["client_id"] = l.ClientID
	claims["scope"] = strings.Join(scopes, " ")
	if len(l.Audience) > 0 {
		claims["aud"] = audienceClaim(l.Audience)
	}
	return claims
}

// IDToken is the ID token of the same login (OpenID Connect Core §2): addressed to
// the application, never meant for an API.
func (i *Issuer) IDToken(p Person, l Login, opts ...MintOption) string {
	claims := idClaims(p, l)
	claims["at_hash"] = rand.Text()
	return i.Mint(claims, append([]MintOption{WithHeader("typ", "JWT")}, opts...)...)
}

func idClaims(p Person, l Login) map[string]any {
	claims := personClaims(p, l)
	claims["aud"] = l.ClientID
	if l.Nonce != "" {
		claims["nonce"] = l.Nonce
	}
	return claims
}

// loginScopes are those that every application may ask for.
var loginScopes = []string{"openid", "email", "profile"}

func personClaims(p Person, l Login) map[string]any {
	claims := map[string]any{"sub": p.Subject, "azp": l.ClientID}
	if p.Name != "" {
		claims["name"] = p.Name
	}
	if p.Email != "" {
		claims["email"] = p.Email
	}
	if len(p.Groups) > 0 {
		claims["groups"] = p.Groups
	}
	return claims
}
