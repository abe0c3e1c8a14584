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
	spells   int           // of load on one server in a round
	spell    time.Duration // as fast as it goes
	idle     time.Duration // before that, without load
	paced    time.Duration // a spell at a thousand requests a second
	sets     []int         // numbers of tokens
	floods   int           // of unknown key ids, and as many spells without
	flood    time.Duration // each of them
	hang     time.Duration // how long the issuer hangs
	repeats  int           // of what happens once: rotation
	reloads  int
	accounts int
	issuers  int
}

var (
	full = size{
		rounds: 15, spells: 8, spell: 70 * time.Millisecond, idle: time.Second, paced: 500 * time.Millisecond,
		sets: []int{1, 1000, 100_000}, floods: 6, flood: 6 * time.Second,
		hang: 6 * time.Second, repeats: 5, reloads: 60,
		accounts: 1_000_000, issuers: 100,
	}
	quickly = size{
		rounds: 2, spells: 2, spell: 10 * time.Millisecond, idle: 20 * time.Millisecond, paced: 50 * time.Millisecond,
		sets: []int{1, 20, 200}, floods: 2, flood: 100 * time.Millisecond,
		hang: 200 * time.Millisecond, repeats: 1, reloads: 2,
		accounts: 2000, issuers: 3,
	}
)

// part is something that can be measured by itself.
type part struct {
	name  string
	about string
	run   func(context.Context, *stage) error
}

var parts = []part{
	{"matrix", "remembered tokens: three algorithms, three sizes of sets; memory; new tokens", measureMatrix},
	{"proxy", "in front of an upstream", measureProxy},
	{"paced", "latencies at a thousand requests a second", measurePaced},
	{"cores", "two cores beside one", measureCores},
	{"refusals", "each kind of bad token", measureRefusals},
	{"flood", "invented key ids beside good tokens", measureFlood},
	{"hang", "an issuer that does not answer", measureHang},
	{"rotation", "many tokens of a new key at once", measureRotation},
	{"reload", "the same configuration again and again", measureReload},
	{"scale", "a hundred issuers, 256 host patterns", measureScale},
	{"accounts", "a million service accounts", measureAccounts},
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
	if err := checkOutput(out, profile); err != nil {
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
		end := s.progress.begin(p.name)
		if err := p.run(ctx, s); err != nil {
			// What else was measured, must not be lost.
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
		}
		end()
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) > 0 {
		out = "" // printed: what is incomplete must not replace an earlier run
	}
	return errors.Join(append(failed, s.write(out))...)
}

// checkOutput makes sure, before twenty minutes of measuring, that what is found
// can be written: a folder for the results, and a file for the profile.
func checkOutput(folder, profile string) error {
	if folder != "" {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("-out: expected a folder that can be written: %w", err)
		}
		probe, err := os.CreateTemp(folder, ".results-*")
		if err != nil {
			return fmt.Errorf("-out: expected a folder that can be written: %w", err)
		}
		_ = probe.Close()
		_ = os.Remove(probe.Name())
	}
	if profile == "" {
		return nil
	}
	file, err := os.OpenFile(filepath.Clean(profile), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("-profile: expected a file that can be written: %w", err)
	}
	return file.Close()
}

// write prints the report, or writes it into a folder.
func (s *stage) write(folder string) error {
	s.report.Title = "Speed"
	s.report.Intro = fmt.Sprintf("Written by `go -C bench run .` on %s: %s; load average at the end %s. "+
		"Medians of %d rounds, with the smallest and the largest in parentheses and, where there are square brackets, the quartiles in them: half of the rounds lie between. "+
		"A round is %d spells of %s for each server, taking turns; the processor time is that of the whole round, so that garbage collected behind a spell counts, less what the server uses when idle. %s",
		s.began.UTC().Format("2006-01-02"), machine.Describe(), machine.Load(), s.size.rounds, s.size.spells, s.size.spell, s.features())
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
