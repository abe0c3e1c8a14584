package main

import (
	"context"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

// warmChunks is into how many pieces a set is cut when its tokens come for the
// first time, so that the servers take turns.
const warmChunks = 20

// warm sends every token once to every server, piece by piece in turns, and
// gives for each server what a request cost in each piece, in µs of processor
// time. What a token cost for its being new is the difference to a bare server
// in the same piece.
func (s *stage) warm(ctx context.Context, servers []*server, list [][]byte) ([]report.Samples, error) {
	found := make([]figures, len(servers))
	once := *s
	once.size.spells = 1
	chunk := max(1, (len(list)+warmChunks-1)/warmChunks)
	for from := 0; from < len(list); from += chunk {
		s.progress.step("tokens sent for the first time", from, len(list))
		piece := list[from:min(from+chunk, len(list))]
		send := func(int) sender {
			return func(c *load.Client) *load.Result { return c.Each(piece) }
		}
		if err := once.round(ctx, servers, from/chunk, found, send, all(200)); err != nil {
			return nil, err
		}
	}
	cpu := make([]report.Samples, 0, len(found))
	for _, f := range found {
		cpu = append(cpu, f.cpu)
	}
	return cpu, nil
}
