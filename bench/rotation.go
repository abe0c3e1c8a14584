package main

import (
	"context"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

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
	if err := v.lets(requests(tokens.Good(issuer, "ES256", connections, nil))); err != nil {
		return nil, 0, err
	}
	issuer.SetDelay(issuerAnswer)
	issuer.Rotate("ES256", idp.KeepOld)
	fresh := requests(tokens.Good(issuer, "", connections, nil))
	fetched := issuer.JWKSFetches()
	r := v.client.Each(fresh)
	return r, issuer.JWKSFetches() - fetched, nil
}
