package main

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

func TestTurnsAreFair(t *testing.T) {
	for n := 1; n <= 5; n++ {
		firsts, follows := make(map[int]int), make(map[[2]int]bool)
		for spell := range 2 * n {
			order := turn(n, spell)
			firsts[order[0]]++
			for i := 1; i < n; i++ {
				follows[[2]int{order[i-1], order[i]}] = true
			}
			slices.Sort(order)
			for i, at := range order {
				if i != at {
					t.Fatalf("%d servers, spell %d: the turns are %v, want each once", n, spell, order)
				}
			}
		}
		for i := range n {
			if firsts[i] != 2 {
				t.Errorf("%d servers: number %d began %d of %d spells, want 2", n, i, firsts[i], 2*n)
			}
			if next := (i + 1) % n; n > 1 && (!follows[[2]int{i, next}] || !follows[[2]int{next, i}]) {
				t.Errorf("%d servers: %d and %d come in one order only", n, i, next)
			}
		}
	}
}

func TestShowMemory(t *testing.T) {
	bare := figures{memory: report.Samples{60}, heap: report.Samples{4}}
	for want, f := range map[string]figures{
		"60 (+0), live 4":   bare,
		"98 (+38), live 45": {memory: report.Samples{98}, heap: report.Samples{45}},
		"15 (-45)":          {memory: report.Samples{15}},
	} {
		if got := f.showMemory(bare); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFiguresAreOfARequest(t *testing.T) {
	f := figures{idle: 2 * time.Millisecond}
	f.add(9*time.Millisecond, 4*time.Second, &load.Result{
		Elapsed:   time.Second,
		Latencies: []time.Duration{100 * time.Microsecond, 200 * time.Microsecond, 300 * time.Microsecond},
	})
	if f.answers != 3 {
		t.Errorf("got %d answers, want 3", f.answers)
	}
	for name, c := range map[string]struct {
		got  report.Samples
		want float64
	}{"cpu": {f.cpu, 1000}, "rate": {f.rate, 3}, "p50": {f.p50, 200}, "p99": {f.p99, 300}} {
		if !slices.Equal(c.got, report.Samples{c.want}) {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
}
