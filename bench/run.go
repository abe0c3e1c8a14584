package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/machine"
)

// size is how much is measured.
type size struct {
	rounds   int
	round    time.Duration // of load on one server
	sets     []int         // numbers of tokens
	spell    time.Duration // of load where latencies under faults are measured
	hang     time.Duration // how long the issuer hangs
	repeats  int           // of what happens once: rotation
	reloads  int
	accounts int
	issuers  int
}

var (
	full = size{
		rounds: 9, round: 200 * time.Millisecond, sets: []int{1, 1000, 100_000},
		spell: 10 * time.Second, hang: 6 * time.Second, repeats: 5, reloads: 20,
		accounts: 1_000_000, issuers: 100,
	}
	quickly = size{
		rounds: 1, round: 30 * time.Millisecond, sets: []int{1, 20, 200},
		spell: 200 * time.Millisecond, hang: 200 * time.Millisecond, repeats: 1, reloads: 2,
		accounts: 2000, issuers: 3,
	}
)

// part is something that can be measured by itself.
type part struct {
	name string
	run  func(context.Context, *stage) error
}

var parts = []part{
	{"matrix", measureMatrix},
	{"proxy", measureProxy},
	{"paced", measurePaced},
	{"cores", measureCores},
	{"refusals", measureRefusals},
	{"flood", measureFlood},
	{"hang", measureHang},
	{"rotation", measureRotation},
	{"reload", measureReload},
	{"scale", measureScale},
	{"accounts", measureAccounts},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// choose gives the named parts, all if none is named.
func choose(only string) ([]part, error) {
	if only == "" {
		return parts, nil
	}
	var chosen []part
	for name := range strings.SplitSeq(only, ",") {
		at := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if at < 0 {
			return nil, fmt.Errorf("-only: found %q, expected some of %s", name, strings.Join(partNames(), ", "))
		}
		chosen = append(chosen, parts[at])
	}
	return chosen, nil
}

func run(ctx context.Context, size size, only, out, profile string) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return fmt.Errorf("making a folder for the servers' files: %w", err)
	}
	defer os.RemoveAll(dir)
	s, err := newStage(dir, size)
	if err != nil {
		return err
	}
	defer s.close()
	s.profile = profile
	var failed []error
	for _, p := range chosen {
		began := time.Now()
		fmt.Fprintf(os.Stderr, "%-10s", p.name)
		if err := p.run(ctx, s); err != nil {
			// What else was measured, must not be lost.
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
		}
		fmt.Fprintf(os.Stderr, " %5.1f s\n", time.Since(began).Seconds())
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(failed, s.write(out))...)
}

// write prints the report, or writes it into a folder.
func (s *stage) write(folder string) error {
	s.report.Title = "Speed"
	s.report.Intro = fmt.Sprintf("Written by `go run ./bench` on %s: %s; load average at the end %s. "+
		"Medians of %d rounds of %s each, with the smallest and the largest in brackets. %s",
		s.began.UTC().Format("2006-01-02"), machine.Describe(), machine.Load(), s.size.rounds, s.size.round, s.features())
	s.report.Sections = slices.Insert(s.report.Sections, 0, s.goalsSection())
	if folder == "" {
		return s.report.Markdown(os.Stdout)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(folder, "results.md"), s.report.Markdown); err != nil {
		return err
	}
	if len(s.chart.Groups) == 0 {
		return nil // the matrix was not measured
	}
	return writeFile(filepath.Join(folder, "chart.svg"), s.chart.SVG)
}
