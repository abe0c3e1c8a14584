package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// login is a person who logged in to an application.
type login struct {
	Login
	client Client
	person Person
}

// loginTokens signs what the application gets. An ID token that comes with an
// access token is bound to it (OpenID Connect Core §3.2.2.9).
func (i *Issuer) loginTokens(l login, withID, withAccess bool) (tokenResponse, error) {
	m := minting{alg: l.client.Algorithm}
	var made tokenResponse
	if withAccess {
		claims := accessClaims(l.person, l.Login)
		lifetime := l.client.Lifetime
		if lifetime == 0 {
			lifetime = time.Hour
		}
		claims["exp"] = i.opts.now().Add(lifetime).Unix()
		token, err := i.mint(claims, m)
		if err != nil {
			return tokenResponse{}, err
		}
		made = tokenResponse{AccessToken: token, TokenType: "Bearer", ExpiresIn: secondsLeft(claims, i), Scope: strings.Join(l.Scopes, " ")}
	}
	if !withID {
		return made, nil
	}
	k, err := i.signingKey(&m)
	if err != nil {
		return tokenResponse{}, err
	}
	claims := idClaims(l.person, l.Login)
	if withAccess {
		claims["at_hash"] = halfHash(m.alg, made.AccessToken)
	}
	m.kid, m.header = k.kid, map[string]any{"typ": "JWT"}
	made.IDToken, err = i.mint(claims, m)
	return made, err
}

// halfHash is the left half of the hash that the algorithm uses.
func halfHash(alg, token string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(alg, "256"):
		hash := sha256.Sum256([]byte(token))
		sum = hash[:]
	case strings.HasSuffix(alg, "384"):
		hash := sha512.Sum384([]byte(token))
		sum = hash[:]
	default: // EdDSA with Ed25519 uses SHA-512 as well
		hash := sha512.Sum512([]byte(token))
		sum = hash[:]
	}
	return b64(sum[:len(sum)/2])
}

// fragment is the answer of the implicit grant (RFC 6749 §4.2.2).
func (t tokenResponse) fragment() url.Values {
	values := url.Values{}
	if t.IDToken != "" {
		values.Set("id_token", t.IDToken)
	}
	if t.AccessToken != "" {
		values.Set("access_token", t.AccessToken)
		values.Set("token_type", t.TokenType)
		values.Set("expires_in", strconv.FormatInt(t.ExpiresIn, 10))
		values.Set("scope", t.Scope)
	}
	return values
}

const (
	codeLifetime = time.Minute
	maxCodes     = 1000 // the oldest makes room
)

// issuedCode waits for the application to come for its tokens.
type issuedCode struct {
	login
	redirect  string
	challenge string
	until     time.Time
}

// codes are those that have not been used.
type codes struct {
	mu    sync.Mutex
	known map[string]issuedCode
	order []string
}

func (c *codes) issue(issued issuedCode, now time.Time) string {
	code := rand.Text()
	issued.until = now.Add(codeLifetime)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[string]issuedCode)
	}
	if len(c.order) == maxCodes {
		delete(c.known, c.order[0])
		c.order = c.order[1:]
	}
	c.known[code] = issued
	c.order = append(c.order, code)
	return code
}

// take gives a code's login once.
func (c *codes) take(code string, now time.Time) (issuedCode, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	issued, ok := c.known[code]
	delete(c.known, code)
	return issued, ok && now.Before(issued.until)
}

// authorizationCode is the grant of RFC 6749 §4.1.3, with RFC 7636 §4.6.
func authorizationCode(i *Issuer, form url.Values, c Client) (tokenResponse, *oauthError) {
	issued, ok := i.codes.take(form.Get("code"), i.opts.now())
	if !ok || issued.client.ID != c.ID || issued.redirect != form.Get("redirect_uri") {
		return tokenResponse{}, badRequest("invalid_grant", "the code is not good, or was issued for something else")
	}
	if !verifierFits(issued.challenge, form.Get("code_verifier")) {
		return tokenResponse{}, badRequest("invalid_grant", "the code_verifier is not the one of the code_challenge")
	}
	tokens, err := i.loginTokens(issued.login, slices.Contains(issued.Scopes, "openid"), true)
	if err != nil {
		return tokenResponse{}, errNoKey
	}
	return tokens, nil
}

func verifierFits(challenge, verifier string) bool {
	if challenge == "" {
		return verifier == ""
	}
	hash := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(b64(hash[:])), []byte(challenge)) == 1
}
