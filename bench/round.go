package main

import (
	"context"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

// figures are what rounds of load found out about one server.
type figures struct {
	cpu    report.Samples // µs of processor time a request
	rate   report.Samples // requests a second
	p50    report.Samples // µs
	p99    report.Samples // µs
	memory report.Samples // MB
}

// rounds loads servers in turn, beginning with another one in each round, and
// expects that every answer has the wanted status of its server.
func (s *stage) rounds(ctx context.Context, servers []*server, send func(*load.Client) *load.Result, want func(*server) int) ([]figures, error) {
	found := make([]figures, len(servers))
	for round := range s.size.rounds {
		for i := range servers {
			at := (round + i) % len(servers)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			cpu, r, err := servers[at].cpuOf(send)
			if err != nil {
				return nil, err
			}
			if err := r.Check(want(servers[at])); err != nil {
				return nil, named(servers[at], err)
			}
			found[at].add(cpu, r)
		}
	}
	for i, v := range servers {
		memory, err := v.memory()
		if err != nil {
			return nil, err
		}
		found[i].memory.Add(memory)
	}
	return found, nil
}

func (f *figures) add(cpu float64, r *load.Result) {
	f.cpu.Add(cpu)
	f.rate.Add(r.PerSecond())
	f.p50.AddTime(r.Quantile(0.5))
	f.p99.AddTime(r.Quantile(0.99))
}

// loaded sends requests round and round for a round.
func (s *stage) loaded(requests [][]byte) func(*load.Client) *load.Result {
	return func(c *load.Client) *load.Result { return c.For(s.size.round, requests) }
}

// paced sends a thousand requests a second for a while.
func paced(d time.Duration, requests [][]byte) func(*load.Client) *load.Result {
	return func(c *load.Client) *load.Result { return c.Paced(d, 1000, requests) }
}

// all wants the same status of every server.
func all(status int) func(*server) int { return func(*server) int { return status } }
