package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// measureHang has the issuer accept requests for its keys and not answer, while
// tokens with invented key ids ask for them.
func measureHang(ctx context.Context, s *stage) error {
	servers, good, err := s.warmed(ctx, s.everythingConfig())
	if err != nil {
		return err
	}
	defer stopAll(servers)
	v := servers[0]
	second := load.NewClient(v.address, connections)
	defer second.Close()
	hold := s.issuer.Hang(idp.JWKS)
	defer hold.Release()
	invented := requests(tokens.UnknownKeys(s.issuer, "RS256", connections))
	var unknown *load.Result
	during, err := beside(v, s.size.hang, good, func() {
		time.AfterFunc(s.size.hang, hold.Release) // quick runs must not wait it out
		unknown = second.Each(invented)
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
