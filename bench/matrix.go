package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

// The servers of the matrix, in their order.
const (
	atBare = iota
	atFloor
	atGatehouse
	atEverything
	atHAProxy
)

// measureMatrix is the heart: remembered tokens of three algorithms, in sets of
// several sizes, through each server.
func measureMatrix(ctx context.Context, s *stage) error {
	s.chart.Title = "Processor time of the server a request, remembered tokens"
	s.chart.About = fmt.Sprintf("HTTP/1.1, %d keep-alive connections, one core. Median of %d rounds; line: smallest to largest", connections, s.size.rounds)
	s.chart.Axis = "µs of processor time a request"
	var memory, fresh []column
	for _, algorithm := range algorithms {
		m, f, err := s.measureAlgorithm(ctx, algorithm)
		if err != nil {
			return fmt.Errorf("%s: %w", algorithm, err)
		}
		memory, fresh = append(memory, m), append(fresh, f)
	}
	largest := s.size.sets[len(s.size.sets)-1]
	s.columns(fmt.Sprintf("Memory with %d remembered tokens", largest), "MB: resident; what that is more than of the bare Caddy after the same load; and what of it is live on the heap, after a collection.", memory)
	s.columns("A new token adds", fmt.Sprintf("µs of processor time more than the bare Caddy took for the same requests. Every token of the largest set that was in no smaller one comes for the first time to each server, in %d pieces that the servers take in turns; a difference is of two servers in the same piece. HAProxy verifies each time, and what it needs for the rest is less than what Caddy needs.", warmChunks), fresh)
	return nil
}

// column is a figure of each server for one algorithm.
type column struct {
	algorithm string
	names     []string
	values    []string
}

func (s *stage) columns(title, note string, columns []column) {
	section := s.report.Section(title, "server")
	section.Note("%s", note)
	for _, c := range columns {
		section.Columns = append(section.Columns, c.algorithm)
	}
	for i, name := range columns[0].names {
		row := []string{name}
		for _, c := range columns {
			cell := "–"
			if i < len(c.values) {
				cell = c.values[i]
			}
			row = append(row, cell)
		}
		section.Row(row...)
	}
}

func (s *stage) startMatrix(ctx context.Context, algorithm string) ([]*server, error) {
	floor, err := s.floorConfig(algorithm)
	if err != nil {
		return nil, err
	}
	servers, err := s.startAll(bareConfig(), floor, s.gatehouseConfig(), s.everythingConfig())
	if err != nil || !haproxyFor(algorithm) {
		return servers, err
	}
	haproxy, err := s.startHAProxy(ctx, algorithm)
	if err != nil {
		stopAll(servers)
		return nil, err
	}
	return append(servers, haproxy), nil
}

func (s *stage) measureAlgorithm(ctx context.Context, algorithm string) (memory, fresh column, err error) {
	servers, err := s.startMatrix(ctx, algorithm)
	if err != nil {
		return memory, fresh, err
	}
	defer stopAll(servers)
	memory, fresh = column{algorithm: algorithm}, column{algorithm: algorithm}
	met := 0
	for i, n := range s.size.sets {
		signed, err := s.tokens(algorithm, n)
		if err != nil {
			return memory, fresh, err
		}
		list, known := requests(signed), min(n, met)
		met = max(met, n)
		last := i == len(s.size.sets)-1
		// Those of the smaller sets are not new any more.
		if _, err := s.warm(ctx, servers, list[:known]); err != nil {
			return memory, fresh, err
		}
		first, err := s.warm(ctx, servers, list[known:])
		if err != nil {
			return memory, fresh, err
		}
		stopProfile := s.startProfile(servers[atEverything], algorithm == "RS256" && n == 1000)
		found, err := s.rounds(ctx, servers, s.loaded(list), all(200))
		if err := errorOf(err, stopProfile()); err != nil {
			return memory, fresh, err
		}
		s.summarize(algorithm, n, servers, found)
		if !last {
			continue
		}
		bare := found[atBare]
		for at, v := range servers {
			memory.names, fresh.names = append(memory.names, v.name), append(fresh.names, v.name)
			memory.values = append(memory.values, found[at].showMemory(bare))
			fresh.values = append(fresh.values, first[at].Minus(first[atBare]).ShowQuartiles(1))
		}
		if n >= goalTokens { // a smaller set says nothing about the goal
			s.goal(fmt.Sprintf("memory, %d distinct valid tokens, %s", n, algorithm), " MB", 120,
				found[atEverything].memory.Minus(bare.memory))
		}
	}
	return memory, fresh, nil
}

// showMemory writes the resident memory, beside that of a bare server, and what
// of it is live.
func (f *figures) showMemory(bare figures) string {
	text := fmt.Sprintf("%s (%+.0f)", f.memory.Show(0), f.memory.Minus(bare.memory).Median())
	if len(f.heap) == 0 {
		return text
	}
	return text + ", live " + f.heap.Show(0)
}

// summarize adds a table, a group of the chart, and goals.
func (s *stage) summarize(algorithm string, n int, servers []*server, found []figures) {
	what := fmt.Sprintf("%s, %d %s", algorithm, n, plural(n, "token"))
	section := s.report.Section(what, "server", "CPU µs a request", "to bare", "added µs", "requests a second", "p50 µs", "p99 µs")
	if n > 1 {
		section.Note("%s was sent each token %.1f times on average.", servers[atEverything].name, float64(found[atEverything].answers)/float64(n))
	}
	bare := found[atBare].cpu
	var bars []report.Bar
	for i, v := range servers {
		f := found[i]
		section.Row(v.name, f.cpu.Show(1), f.cpu.To(bare).ShowQuartiles(3), f.cpu.Minus(bare).Show(1),
			f.rate.Show(0), f.p50.Show(0), f.p99.Show(0))
		bars = append(bars, report.Bar{Name: strings.ReplaceAll(v.name, "`", ""), Values: f.cpu})
	}
	s.chart.Add(what, bars...)
	s.goal("remembered token to bare Caddy, "+what, " ×", 1.12, found[atEverything].cpu.To(bare))
	s.goal("remembered token, added to bare Caddy, "+what, " µs", 3, found[atEverything].cpu.Minus(bare))
	if len(servers) > atHAProxy {
		s.goal("whole request beside HAProxy `jwt_verify`, "+what, " ×", 0.75, found[atEverything].cpu.To(found[atHAProxy].cpu))
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// goalTokens is the size of the set that the goal for memory is about.
const goalTokens = 100_000
