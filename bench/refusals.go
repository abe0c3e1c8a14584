package main

import (
	"context"
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
)

// measureRefusals compares what it costs to refuse with what a bare Caddy needs
// for the same request.
func measureRefusals(ctx context.Context, s *stage) error {
	floor, err := s.floorConfig("RS256")
	if err != nil {
		return err
	}
	servers, _, err := s.warmed(ctx, bareConfig(), floor, s.everythingConfig())
	if err != nil {
		return err
	}
	defer stopAll(servers)
	section := s.report.Section("Refusals: RS256, CPU to bare Caddy", "token", servers[0].name+", µs", servers[1].name, servers[2].name)
	section.Note("Caddy's own error route is part of each refusal.")
	for _, kind := range tokens.BadOnes(s.issuer, "RS256", min(1000, s.size.sets[1])) {
		found, err := s.rounds(ctx, servers, s.loaded(requests(kind.Tokens)), func(v *server) int {
			if v == servers[0] {
				return 200
			}
			return 401
		})
		if err != nil {
			return fmt.Errorf("%s: %w", kind.Name, err)
		}
		bare := found[0].cpu
		section.Row(kind.Name, bare.Show(1), found[1].cpu.To(bare).ShowQuartiles(2), found[2].cpu.To(bare).ShowQuartiles(2))
		limit := 1.7
		if kind.Name == "bad signature" {
			limit = 3
		}
		s.goal("refused, to bare: "+kind.Name, " ×", limit, found[2].cpu.To(bare))
	}
	return nil
}
