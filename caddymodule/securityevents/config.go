package securityevents

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/time/rate"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/secevent"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// Config says which events of an issuer are taken: that somebody logged out,
// that a session was revoked or an account disabled. All that comes of one is that
// tokens of this issuer are refused that were issued before it. They are received
// where gatehouse_api stands, below /gatehouse/issuers/ and the issuer's name, or
// fetched.
type Config struct {
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
	Push *Push `json:"push,omitempty"`

	// Fetches security event tokens (RFC 8936). Default: not fetched.
	Poll *Poll `json:"poll,omitempty"`

	// Takes requests for global token revocation
	// (draft-parecki-oauth-global-token-revocation). Default: not taken.
	GlobalRevocation *GlobalRevocation `json:"global_revocation,omitempty"`

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

// Push says how security event tokens are pushed.
type Push struct {
	// The bearer token that the sender must send, besides what the events themselves
	// show. May be a placeholder. Default: none is asked for.
	Bearer string `json:"bearer,omitempty"`
}

// Poll says where and how security event tokens are fetched.
type Poll struct {
	// The polling endpoint of the stream. Required.
	URL string `json:"url,omitempty"`

	// The bearer token to send. May be a placeholder. Default: none, or one by
	// `client_credentials`.
	Token string `json:"token,omitempty"`

	// How to get a token from a token endpoint. Excludes `token`. Default: not.
	ClientCredentials *ClientCredentials `json:"client_credentials,omitempty"`

	// The time from one poll to the next. Every node polls. Default: 10s.
	Every caddy.Duration `json:"every,omitempty"`
}

// ClientCredentials are a client's at a token endpoint (RFC 6749, section 4.4).
type ClientCredentials struct {
	// The token endpoint. Required.
	TokenURL string `json:"token_url,omitempty"`

	// The client id. Required.
	ClientID string `json:"client_id,omitempty"`

	// The client's secret. May be a placeholder. Required.
	ClientSecret string `json:"client_secret,omitempty"`

	// The scopes to ask for. Default: none.
	Scopes []string `json:"scopes,omitempty"`
}

// GlobalRevocation says how requests for global token revocation are taken.
type GlobalRevocation struct {
	// What the `aud` of the JWT that authenticates a request must hold one of: mostly
	// the address of the endpoint. Default: the audiences of the events.
	Audiences []string `json:"audiences,omitempty"`
}

// eventEnds are the values of [Config.Ends].
var eventEnds = parse.Choice{"session", endsSubject}

const (
	endsSubject     = "subject"
	minPollInterval = time.Second
	maxPollInterval = time.Hour
)

// Check judges the options as they are written; what holds a placeholder is judged
// again when it is resolved.
func (e *Config) Check(insecureHTTP bool, subjectClaim string) error {
	switch {
	case len(e.BackChannelLogout) == 0 && e.Push == nil && e.Poll == nil && e.GlobalRevocation == nil:
		return errors.New("events: expected at least one way that they come: backchannel_logout, push, poll or global_revocation")
	case len(e.Audiences) == 0 && (e.Push != nil || e.Poll != nil):
		return errors.New("events: expected audience, which is the aud of security event tokens: without it, events for other receivers would be taken")
	case e.GlobalRevocation != nil && len(e.Audiences)+len(e.GlobalRevocation.Audiences) == 0:
		return errors.New("events: global_revocation: expected an audience, mostly the address of the endpoint: without it, requests to others would be taken")
	case (e.Transmitter == "") != (e.TransmitterJWKSURI == ""):
		return errors.New("events: transmitter: expected its identifier and the address of its key set")
	case e.MatchEmail && subjectClaim == "":
		return errors.New("events: match_email: expected the issuer's option subject_claim, which names the claim that holds the address")
	}
	if err := eventEnds.Check("events: ends", e.Ends); err != nil {
		return err
	}
	return e.checkAddresses(insecureHTTP)
}

func (e *Config) checkAddresses(insecureHTTP bool) error {
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
func (e *Config) resolved(i Issuer) (*Config, error) {
	var r parse.Resolver
	plain := *e
	plain.Audiences = r.List("events: audience", e.Audiences)
	plain.Transmitter = r.Text("events: transmitter", e.Transmitter)
	plain.TransmitterJWKSURI = r.Text("events: transmitter", e.TransmitterJWKSURI)
	plain.BackChannelLogout = r.List("events: backchannel_logout", e.BackChannelLogout)
	if e.Push != nil {
		plain.Push = &Push{Bearer: r.OptionalSecret("events: push", e.Push.Bearer)}
	}
	if e.GlobalRevocation != nil {
		plain.GlobalRevocation = &GlobalRevocation{Audiences: r.List("events: global_revocation", e.GlobalRevocation.Audiences)}
	}
	if p := e.Poll; p != nil {
		plain.Poll = &Poll{URL: r.Text("events: poll", p.URL), Every: p.Every, Token: r.OptionalSecret("events: poll: token", p.Token)}
		if c := p.ClientCredentials; c != nil {
			plain.Poll.ClientCredentials = &ClientCredentials{
				TokenURL: r.Text("events: poll: client_credentials", c.TokenURL), ClientID: r.Text("events: poll: client_credentials", c.ClientID),
				ClientSecret: r.Secret("events: poll: client_credentials", c.ClientSecret), Scopes: r.List("events: poll: client_credentials", c.Scopes),
			}
		}
	}
	if r.Err != nil {
		return nil, r.Err
	}
	return &plain, plain.Check(i.Source.InsecureHTTP, i.Policy.SubjectClaim)
}

// pace is that of all issuers' events. A thousand that came together and were worked on
// together would have the requests in between wait for all of them.
var pace = rate.NewLimiter(rate.Limit(1000*runtime.GOMAXPROCS(0)), 1) // a second

// source says how the issuer's events are judged.
func (e *Config) source(i Issuer, keys issuer.Keys) secevent.Config {
	c := secevent.Config{
		Issuer: i.Policy.Issuer, Name: i.Policy.Name, Transmitter: e.Transmitter, Keys: keys, Algorithms: i.Policy.Algorithms,
		Leeway: i.Policy.Leeway, Lifetime: i.Lifetime, Clients: e.BackChannelLogout,
		MatchEmail: e.MatchEmail, Untyped: e.Untyped, EndSubject: e.Ends == endsSubject, Pace: pace,
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
func (e *Config) ways() (ways []string) {
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

// Parse reads what events are taken of an issuer. Syntax:
//
//	events {
//	    audience           <audience...>
//	    transmitter        <identifier> <jwks_uri>
//	    backchannel_logout <client-id...>
//	    push               [bearer <token>]
//	    poll <url> {
//	        every <duration>
//	        token <token>
//	        client_credentials <token-url> <client-id> <client-secret> [<scope...>]
//	    }
//	    global_revocation  [<audience...>]
//	    match_email
//	    untyped
//	    ends               session|subject
//	}
func (e *Config) Parse(d *caddyfile.Dispenser) error {
	if err := parse.NoMore(d, "events"); err != nil {
		return err
	}
	return parse.Block(d, parse.Options{
		"audience": parse.Words(&e.Audiences),
		"transmitter": parse.Once(func(d *caddyfile.Dispenser) error {
			list, err := parse.ReadWords(d)
			if err == nil && len(list) != 2 {
				err = d.Errf("transmitter: found %d words, expected its identifier and the address of its key set", len(list))
			}
			if err == nil {
				e.Transmitter, e.TransmitterJWKSURI = list[0], list[1]
			}
			return err
		}),
		"backchannel_logout": parse.Words(&e.BackChannelLogout),
		"push":               parse.Part(&e.Push, (*Push).parse),
		"poll":               parse.Part(&e.Poll, (*Poll).parse),
		"global_revocation": parse.Part(&e.GlobalRevocation, func(g *GlobalRevocation, d *caddyfile.Dispenser) error {
			if d.CountRemainingArgs() == 0 {
				return nil
			}
			return parse.AppendWords(d, &g.Audiences)
		}),
		"match_email": parse.Flag(&e.MatchEmail),
		"untyped":     parse.Flag(&e.Untyped),
		"ends":        parse.OneOf(&e.Ends, eventEnds),
	})
}

func (p *Push) parse(d *caddyfile.Dispenser) error {
	list := d.RemainingArgs()
	switch {
	case len(list) == 0:
		return nil
	case list[0] != "bearer" || len(list) != 2 || list[1] == "":
		return d.Err("push: expected nothing more on this line, or `bearer <token>`") // what stands there may be a secret
	}
	p.Bearer = list[1]
	return nil
}

func (p *Poll) parse(d *caddyfile.Dispenser) error {
	if err := parse.ReadWord(d, &p.URL, "the address of the polling endpoint"); err != nil {
		return err
	}
	return parse.Block(d, parse.Options{
		"every": parse.Duration(&p.Every, minPollInterval, maxPollInterval),
		"token": parse.Once(func(d *caddyfile.Dispenser) error {
			list := d.RemainingArgs()
			if len(list) != 1 || list[0] == "" {
				return d.Err("token: expected one value") // what stands there is a secret
			}
			p.Token = list[0]
			return nil
		}),
		"client_credentials": parse.Part(&p.ClientCredentials, func(c *ClientCredentials, d *caddyfile.Dispenser) error {
			list := d.RemainingArgs()
			if len(list) < 3 {
				return d.Errf("client_credentials: found %d words, expected the token endpoint, the client id, its secret and perhaps scopes", len(list))
			}
			c.TokenURL, c.ClientID, c.ClientSecret, c.Scopes = list[0], list[1], list[2], list[3:]
			return nil
		}),
	})
}
