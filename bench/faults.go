package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// beside sends good tokens, paced, while something else goes on, and expects
// that all of them are let in.
func (s *stage) beside(v *server, d time.Duration, good [][]byte, other func(*load.Client)) (*load.Result, error) {
	second := load.NewClient(v.address, connections)
	defer second.Close()
	var wait sync.WaitGroup
	wait.Go(func() { other(second) })
	r := v.client.Paced(d, 1000, good)
	wait.Wait()
	return r, named200(v, r)
}

func named200(v *server, r *load.Result) error {
	if err := r.Check(200); err != nil {
		return named(v, err)
	}
	return nil
}

// measureFlood sends tokens with invented key ids beside good ones, and before
// that as many good ones in their place.
func measureFlood(ctx context.Context, s *stage) error {
	servers, err := s.startAll(s.everythingConfig())
	if err != nil {
		return err
	}
	v := servers[0]
	defer stopAll(servers)
	good := s.usual()
	if err := v.lets(good); err != nil {
		return err
	}
	spell := s.size.spell
	invented := requests(tokens.UnknownKeys(s.issuer, "RS256", min(1000, 5*s.size.sets[1])))
	before, err := s.beside(v, spell, good, func(c *load.Client) { c.Paced(spell, 1000, good) })
	if err != nil {
		return err
	}
	fetched := s.issuer.JWKSFetches()
	var flood *load.Result
	during, err := s.beside(v, spell, good, func(c *load.Client) { flood = c.Paced(spell, 1000, invented) })
	if err != nil {
		return err
	}
	fetched = s.issuer.JWKSFetches() - fetched
	section := s.report.Section("Flood of unknown `kid`s", "", "good tokens: p50 µs", "p99 µs", "refused")
	section.Note("1 000 good tokens a second; beside them 1 000 requests a second with good tokens, then 1 000 with invented key ids: %d of these in %s, answered %v, had the issuer asked for its keys %d times.",
		flood.Answers(), spell, flood.Statuses, fetched)
	row := func(what string, r *load.Result) {
		section.Row(what, fmt.Sprint(r.Quantile(0.5).Microseconds()), fmt.Sprint(r.Quantile(0.99).Microseconds()), fmt.Sprint(r.Others(200)))
	}
	row("beside good ones", before)
	row("beside the flood", during)
	windows := 1 + spell.Seconds()/5
	s.goal("flood of unknown `kid`s: fetches in 5 s", "", 1, one(float64(fetched)/float64(int(windows))))
	s.goal("flood of unknown `kid`s: p99 of good tokens, to before", " ×", 2,
		one(float64(during.Quantile(0.99))/float64(before.Quantile(0.99))))
	return ctx.Err()
}

// measureHang has the issuer accept requests for its keys and not answer, while
// tokens with invented key ids ask for them.
func measureHang(ctx context.Context, s *stage) error {
	servers, err := s.startAll(s.everythingConfig())
	if err != nil {
		return err
	}
	v := servers[0]
	defer stopAll(servers)
	good := s.usual()
	if err := v.lets(good); err != nil {
		return err
	}
	hold := s.issuer.Hang(idp.JWKS)
	defer hold.Release()
	invented := requests(tokens.UnknownKeys(s.issuer, "RS256", connections))
	var unknown *load.Result
	during, err := s.beside(v, s.size.hang, good, func(c *load.Client) {
		time.AfterFunc(s.size.hang, hold.Release) // quick runs must not wait it out
		unknown = c.Each(invented)
	})
	if err != nil {
		return err
	}
	section := s.report.Section("Issuer hanging", "good tokens: p50 µs", "p99 µs", "longest µs", "refused", "unknown `kid`: longest")
	section.Note("1 000 good tokens a second for %s, while the issuer does not answer and %d requests wait for a key that nobody has: answered %v.",
		s.size.hang, len(invented), unknown.Statuses)
	section.Row(fmt.Sprint(during.Quantile(0.5).Microseconds()), fmt.Sprint(during.Quantile(0.99).Microseconds()),
		fmt.Sprint(during.Quantile(1).Microseconds()), fmt.Sprint(during.Others(200)), unknown.Quantile(1).Round(time.Millisecond).String())
	s.goal("issuer hanging: p99 of good tokens", " ms", 10, one(during.Quantile(0.99).Seconds()*1e3))
	return ctx.Err()
}

// issuerAnswer is how long the issuer takes to answer when it rotates.
const issuerAnswer = 50 * time.Millisecond

// measureRotation has all connections come at once with tokens of a key that was
// not there a moment ago.
func measureRotation(ctx context.Context, s *stage) error {
	var refused, fetches, first report.Samples
	for range s.size.repeats {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, fetched, err := s.rotateOnce()
		if err != nil {
			return err
		}
		refused.Add(float64(r.Others(200)))
		fetches.Add(float64(fetched))
		first.Add((r.FirstOK - issuerAnswer).Seconds() * 1e3)
	}
	section := s.report.Section("Rotation", "refused", "fetches", "first let in, ms after the issuer's answer")
	section.Note("%d connections come at once with tokens of a new key, %d times; the issuer takes %s to answer.", connections, s.size.repeats, issuerAnswer)
	section.Row(refused.Show(0), fetches.Show(0), first.Show(1))
	s.goal("rotation: refused", "", 0, one(refused.Max()))
	s.goal("rotation: fetches", "", 1, one(fetches.Max()))
	s.goal("rotation: first let in after the issuer's answer", " ms", 5, first)
	return nil
}

// rotateOnce uses an issuer of its own, whose keys nobody else needs.
func (s *stage) rotateOnce() (*load.Result, int, error) {
	issuer, err := idp.New(idp.WithAlgorithms("ES256"), idp.WithAudience(tokens.Audience))
	if err != nil {
		return nil, 0, err
	}
	defer issuer.Close()
	own := *s
	own.issuer = issuer
	servers, err := own.startAll(own.everythingConfig())
	s.serial = own.serial
	if err != nil {
		return nil, 0, err
	}
	defer stopAll(servers)
	v := servers[0]
	if err := v.lets(requests(tokens.Good(issuer, "ES256", connections))); err != nil {
		return nil, 0, err
	}
	issuer.SetDelay(issuerAnswer)
	issuer.Rotate("ES256", idp.KeepOld)
	fresh := requests(tokens.Good(issuer, "", connections))
	fetched := issuer.JWKSFetches()
	r := v.client.Each(fresh)
	return r, issuer.JWKSFetches() - fetched, nil
}
