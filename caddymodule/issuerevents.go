package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/secevent"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// IssuerEvents says which events of an issuer are taken: that somebody logged out,
// that a session was revoked or an account disabled. All that comes of one is that
// tokens of this issuer are refused that were issued before it. They are received
// where gatehouse_api stands, below /gatehouse/issuers/ and the issuer's name, or
// fetched.
type IssuerEvents struct {
	// What the `aud` of security event tokens must hold one of; of requests for global
	// revocation, too, unless those have audiences of their own. Required by push,
	// poll and global_revocation.
	Audiences []string `json:"audiences,omitempty"`

	// The `iss` of the events, where the provider sends them under another identifier
	// than its tokens. Its word counts for this issuer's subjects. Default: the issuer.
	Transmitter string `json:"transmitter,omitempty"`

	// Where the transmitter's key set is. Required with `transmitter`. Default: the
	// issuer's keys.
	TransmitterJWKSURI string `json:"transmitter_jwks_uri,omitempty"`

	// The client ids of which the `aud` of logout tokens must hold one (OpenID Connect
	// Back-Channel Logout 1.0). Default: logout tokens are not taken.
	BackChannelLogout []string `json:"backchannel_logout,omitempty"`

	// Takes security event tokens that are pushed (RFC 8935). Default: not taken.
	Push *EventPush `json:"push,omitempty"`

	// Fetches security event tokens (RFC 8936). Default: not fetched.
	Poll *EventPoll `json:"poll,omitempty"`

	// Takes requests for global token revocation
	// (draft-parecki-oauth-global-token-revocation). Default: not taken.
	GlobalRevocation *EventGlobal `json:"global_revocation,omitempty"`

	// Takes a subject that is an e-mail address for the subject of tokens. It needs the
	// issuer's `subject_claim`, which must hold that address. Default: such events are
	// refused.
	MatchEmail bool `json:"match_email,omitempty"`

	// Takes security event tokens whose header lacks the type secevent+jwt, as some
	// providers send them, if they have no `exp`. Default: refused.
	Untyped bool `json:"untyped,omitempty"`

	// What an event revokes that names a session and its user: `session`, the tokens
	// with that `sid`, or `subject`, all tokens of the user, for issuers whose access
	// tokens have no `sid`. Default: session.
	Ends string `json:"ends,omitempty"`
}

// EventPush says how security event tokens are pushed.
type EventPush struct {
	// The bearer token that the sender must send, besides what the events themselves
	// show. May be a placeholder. Default: none is asked for.
	Bearer string `json:"bearer,omitempty"`
}

// EventPoll says where and how security event tokens are fetched.
type EventPoll struct {
	// The polling endpoint of the stream. Required.
	URL string `json:"url,omitempty"`

	// The bearer token to send. May be a placeholder. Default: none, or one by
	// `client_credentials`.
	Token string `json:"token,omitempty"`

	// How to get a token from a token endpoint. Excludes `token`. Default: not.
	ClientCredentials *EventCredentials `json:"client_credentials,omitempty"`

	// The time from one poll to the next. Every node polls. Default: 10s.
	Every caddy.Duration `json:"every,omitempty"`
}

// EventCredentials are a client's at a token endpoint (RFC 6749, section 4.4).
type EventCredentials struct {
	// The token endpoint. Required.
	TokenURL string `json:"token_url,omitempty"`

	// The client id. Required.
	ClientID string `json:"client_id,omitempty"`

	// The client's secret. May be a placeholder. Required.
	ClientSecret string `json:"client_secret,omitempty"`

	// The scopes to ask for. Default: none.
	Scopes []string `json:"scopes,omitempty"`
}

// EventGlobal says how requests for global token revocation are taken.
type EventGlobal struct {
	// What the `aud` of the JWT that authenticates a request must hold one of: mostly
	// the address of the endpoint. Default: the audiences of the events.
	Audiences []string `json:"audiences,omitempty"`
}

// eventEnds are the values of [IssuerEvents.Ends].
var eventEnds = parse.Choice{"session", endsSubject}

const (
	endsSubject     = "subject"
	minPollInterval = time.Second
	maxPollInterval = time.Hour
)

// check judges the options as they are written; what holds a placeholder is judged
// again when it is resolved.
func (e *IssuerEvents) check(i *Issuer) error {
	switch {
	case len(e.BackChannelLogout) == 0 && e.Push == nil && e.Poll == nil && e.GlobalRevocation == nil:
		return errors.New("events: expected at least one way that they come: backchannel_logout, push, poll or global_revocation")
	case len(e.Audiences) == 0 && (e.Push != nil || e.Poll != nil):
		return errors.New("events: expected audience, which is the aud of security event tokens: without it, events for other receivers would be taken")
	case e.GlobalRevocation != nil && len(e.Audiences)+len(e.GlobalRevocation.Audiences) == 0:
		return errors.New("events: global_revocation: expected an audience, mostly the address of the endpoint: without it, requests to others would be taken")
	case (e.Transmitter == "") != (e.TransmitterJWKSURI == ""):
		return errors.New("events: transmitter: expected its identifier and the address of its key set")
	case e.MatchEmail && i.SubjectClaim == "":
		return errors.New("events: match_email: expected the issuer's option subject_claim, which names the claim that holds the address")
	}
	if err := eventEnds.Check("events: ends", e.Ends); err != nil {
		return err
	}
	return e.checkAddresses(i.InsecureHTTP)
}

func (e *IssuerEvents) checkAddresses(insecureHTTP bool) error {
	type address struct{ option, url string }
	addresses := []address{{"transmitter", e.TransmitterJWKSURI}}
	if p := e.Poll; p != nil {
		every := time.Duration(p.Every)
		if every != 0 && (every < minPollInterval || every > maxPollInterval) {
			return fmt.Errorf("events: poll: every: found %s, expected %s to %s", every, minPollInterval, maxPollInterval)
		}
		if p.URL == "" {
			return errors.New("events: poll: expected the address of the polling endpoint")
		}
		addresses = append(addresses, address{"poll", p.URL})
		if c := p.ClientCredentials; c != nil {
			switch {
			case p.Token != "":
				return errors.New("events: poll: found token and client_credentials, expected one of them")
			case c.TokenURL == "" || c.ClientID == "" || c.ClientSecret == "":
				return errors.New("events: poll: client_credentials: expected the token endpoint, the client id and its secret")
			}
			addresses = append(addresses, address{"poll: client_credentials", c.TokenURL})
		}
	}
	for _, a := range addresses {
		if a.url == "" || parse.HasPlaceholder(a.url) {
			continue
		}
		if err := issuer.CheckURL(a.url, insecureHTTP); err != nil {
			return fmt.Errorf("events: %s: %q %w", a.option, a.url, err)
		}
	}
	return nil
}

// resolved gives the options without placeholders, for use and never to be shown.
func (e *IssuerEvents) resolved(i *Issuer) (*IssuerEvents, error) {
	var r parse.Resolver
	plain := *e
	plain.Audiences = r.List("events: audience", e.Audiences)
	plain.Transmitter = r.Text("events: transmitter", e.Transmitter)
	plain.TransmitterJWKSURI = r.Text("events: transmitter", e.TransmitterJWKSURI)
	plain.BackChannelLogout = r.List("events: backchannel_logout", e.BackChannelLogout)
	if e.Push != nil {
		plain.Push = &EventPush{Bearer: r.OptionalSecret("events: push", e.Push.Bearer)}
	}
	if e.GlobalRevocation != nil {
		plain.GlobalRevocation = &EventGlobal{Audiences: r.List("events: global_revocation", e.GlobalRevocation.Audiences)}
	}
	if p := e.Poll; p != nil {
		plain.Poll = &EventPoll{URL: r.Text("events: poll", p.URL), Every: p.Every, Token: r.OptionalSecret("events: poll: token", p.Token)}
		if c := p.ClientCredentials; c != nil {
			plain.Poll.ClientCredentials = &EventCredentials{
				TokenURL: r.Text("events: poll: client_credentials", c.TokenURL), ClientID: r.Text("events: poll: client_credentials", c.ClientID),
				ClientSecret: r.Secret("events: poll: client_credentials", c.ClientSecret), Scopes: r.List("events: poll: client_credentials", c.Scopes),
			}
		}
	}
	if r.Err != nil {
		return nil, r.Err
	}
	return &plain, plain.check(i)
}

// source says how the issuer's events are judged.
func (e *IssuerEvents) source(i *Issuer, keys secevent.Keys, lifetime time.Duration) secevent.Config {
	c := secevent.Config{
		Issuer: i.policy.Issuer, Name: i.policy.Name, Transmitter: e.Transmitter, Keys: keys, Algorithms: i.policy.Algorithms,
		Leeway: i.policy.Leeway, Lifetime: lifetime, Clients: e.BackChannelLogout,
		MatchEmail: e.MatchEmail, Untyped: e.Untyped, EndSubject: e.Ends == endsSubject,
	}
	if e.Push != nil || e.Poll != nil {
		c.Audiences = e.Audiences
	}
	if e.GlobalRevocation != nil {
		c.GlobalAudiences = slices.Concat(e.GlobalRevocation.Audiences)
		if len(c.GlobalAudiences) == 0 {
			c.GlobalAudiences = e.Audiences
		}
	}
	return c
}

// ways names how events come, for people.
func (e *IssuerEvents) ways() (ways []string) {
	for _, way := range []struct {
		name string
		is   bool
	}{
		{"backchannel_logout", len(e.BackChannelLogout) > 0}, {"push", e.Push != nil}, {"poll", e.Poll != nil}, {"global_revocation", e.GlobalRevocation != nil},
	} {
		if way.is {
			ways = append(ways, way.name)
		}
	}
	return ways
}
