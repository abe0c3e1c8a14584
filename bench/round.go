package main

import (
	"context"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

// figures are what rounds of load found out about one server.
type figures struct {
	idle time.Duration // of processor time that it uses in a second without requests

	answers int // in all rounds

	cpu    report.Samples // µs of processor time a request
	rate   report.Samples // requests a second
	p50    report.Samples // µs
	p99    report.Samples // µs
	memory report.Samples // MB
	heap   report.Samples // MB, live; none of a server not written in Go
}

// sender sends one spell of load.
type sender func(*load.Client) *load.Result

// rounds loads servers round after round, and expects that every answer has the
// wanted status of its server. A figure of one server is compared with that of
// another in the same round.
func (s *stage) rounds(ctx context.Context, servers []*server, send sender, want func(*server) int) ([]figures, error) {
	found, err := s.idle(ctx, servers)
	if err != nil {
		return nil, err
	}
	for round := range s.size.rounds {
		err := s.round(ctx, servers, round, found, func(int) sender { return send }, want)
		if err != nil {
			return nil, err
		}
	}
	for i, v := range servers {
		if err := found[i].weigh(ctx, v); err != nil {
			return nil, named(v, err)
		}
	}
	return found, nil
}

// idle leaves servers alone for a while, and notes what they use: polling and
// timers are no cost of a request.
func (s *stage) idle(ctx context.Context, servers []*server) ([]figures, error) {
	if err := pause(ctx, s.size.idle/4); err != nil { // what went before ends
		return nil, err
	}
	before, err := cpuTimes(servers)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, s.size.idle); err != nil {
		return nil, err
	}
	after, err := cpuTimes(servers)
	if err != nil {
		return nil, err
	}
	found := make([]figures, len(servers))
	for i := range servers {
		found[i].idle = time.Duration(float64(after[i]-before[i]) / s.size.idle.Seconds())
	}
	return found, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// round is several short spells for each server in turn, so that whatever slows
// the machine for a while meets all of them alike. The processor time is that
// of the whole round, with the spells of the others: a server goes on collecting
// garbage behind its own spell, and that is a cost of its requests. What it uses
// when idle is taken off.
func (s *stage) round(ctx context.Context, servers []*server, round int, found []figures, send func(spell int) sender, want func(*server) int) error {
	start := time.Now()
	before, err := cpuTimes(servers)
	if err != nil {
		return err
	}
	results := make([][]*load.Result, len(servers))
	for spell := range s.size.spells {
		for _, i := range turn(len(servers), round+spell) {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := send(spell)(servers[i].client)
			if err := r.Check(want(servers[i])); err != nil {
				return named(servers[i], err)
			}
			results[i] = append(results[i], r)
		}
	}
	after, err := cpuTimes(servers)
	if err != nil {
		return err
	}
	took := time.Since(start)
	for i := range servers {
		found[i].add(after[i]-before[i], took, load.Join(results[i]))
	}
	return nil
}

// turn is the order of servers in a spell: each time another one begins, and
// every second time it goes backwards, so that none always follows the same.
func turn(servers, spell int) []int {
	order := make([]int, 0, servers)
	for i := range servers {
		if spell%2 == 1 {
			i = -i
		}
		order = append(order, ((spell+i)%servers+servers)%servers)
	}
	return order
}

func cpuTimes(servers []*server) ([]time.Duration, error) {
	times := make([]time.Duration, 0, len(servers))
	for _, v := range servers {
		used, err := v.cpuTime()
		if err != nil {
			return nil, err
		}
		times = append(times, used)
	}
	return times, nil
}

// add notes a round: the processor time of all of it, and what came of the
// server's own spells.
func (f *figures) add(cpu, round time.Duration, r *load.Result) {
	cpu -= time.Duration(f.idle.Seconds() * float64(round-r.Elapsed))
	f.answers += r.Answers()
	f.cpu.Add(float64(cpu.Nanoseconds()) / 1e3 / float64(r.Answers()))
	f.rate.Add(r.PerSecond())
	f.p50.AddTime(r.Quantile(0.5))
	f.p99.AddTime(r.Quantile(0.99))
}

// weigh notes how much memory a server has after its rounds.
func (f *figures) weigh(ctx context.Context, v *server) error {
	memory, err := v.memory()
	if err != nil {
		return err
	}
	f.memory.Add(memory) // before the heap is collected for the sake of the other figure
	if v.admin == "" {
		return nil
	}
	heap, err := liveHeap(ctx, v.admin)
	if err != nil {
		return err
	}
	f.heap.Add(heap)
	return nil
}

// loaded sends requests round and round for a spell.
func (s *stage) loaded(requests [][]byte) sender {
	return func(c *load.Client) *load.Result { return c.For(s.size.spell, requests) }
}

// paced sends a thousand requests a second for a while.
func paced(d time.Duration, requests [][]byte) sender {
	return func(c *load.Client) *load.Result { return c.Paced(d, 1000, requests) }
}

// all wants the same status of every server.
func all(status int) func(*server) int { return func(*server) int { return status } }
