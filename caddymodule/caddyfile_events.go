package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// parseEvents reads what events are taken of an issuer. Syntax:
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
func (e *IssuerEvents) parseEvents(d *caddyfile.Dispenser) error {
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
		"push":               parse.Part(&e.Push, (*EventPush).parsePush),
		"poll":               parse.Part(&e.Poll, (*EventPoll).parsePoll),
		"global_revocation": parse.Part(&e.GlobalRevocation, func(g *EventGlobal, d *caddyfile.Dispenser) error {
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

func (p *EventPush) parsePush(d *caddyfile.Dispenser) error {
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

func (p *EventPoll) parsePoll(d *caddyfile.Dispenser) error {
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
		"client_credentials": parse.Part(&p.ClientCredentials, func(c *EventCredentials, d *caddyfile.Dispenser) error {
			list := d.RemainingArgs()
			if len(list) < 3 {
				return d.Errf("client_credentials: found %d words, expected the token endpoint, the client id, its secret and perhaps scopes", len(list))
			}
			c.TokenURL, c.ClientID, c.ClientSecret, c.Scopes = list[0], list[1], list[2], list[3:]
			return nil
		}),
	})
}
