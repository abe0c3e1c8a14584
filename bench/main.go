// Command bench measures Gatehouse beside a bare Caddy, beside the floor of what
// Go and Caddy leave possible, and beside HAProxy where it is installed:
//
//	go -C bench run .                     everything, some twenty minutes
//	go -C bench run . -quick              each part once and shortly: that it works
//	go -C bench run . -only matrix,flood  some parts
//
// It is a module of its own, so that the product needs nothing for it.
//
// Every server is a process of its own on one core; the load comes from this
// process on another. In a round, the servers take turns in short spells, so that
// what slows the machine for a while slows all alike, and ratios are of the same
// round. What counts is the processor time of the server a request, which depends
// less than requests per second on who else uses the machine. The results are
// written as Markdown and SVG into the folder of -out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"

	// The modules that every Caddy build carries, and those measured.
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/gatehouse-proxy/gatehouse/bench/internal/floor"
	_ "github.com/gatehouse-proxy/gatehouse/caddymodule"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == serveCommand {
		exit(serve(os.Args[2]))
	}
	quick := flag.Bool("quick", false, "run each part once and shortly; the figures mean nothing and are only printed")
	out := flag.String("out", results, "`folder` of results.md and chart.svg; empty, or only some parts are run: print the tables")
	only := flag.String("only", "", "comma separated `parts`; default: all of them")
	largest := count("largest", full.sets[len(full.sets)-1], "size of the largest set of `tokens`; signing and warming up a hundred thousand of each algorithm takes minutes")
	rounds := count("rounds", full.rounds, "how many `rounds` make a median; fewer are faster and say less")
	profile := flag.String("profile", "", "write a CPU profile of the fully configured server to `file` while the matrix is measured")
	flag.Usage = usage
	flag.Parse()

	if flag.NArg() > 0 {
		exit(fmt.Errorf("found the argument %q, expected options only; -help shows them", flag.Arg(0)))
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	size := full
	size.rounds = *rounds
	size.sets = append(slices.Clone(full.sets[:len(full.sets)-1]), *largest)
	if *quick {
		size = quickly
	}
	if *out == results && (*quick || *only != "") {
		*out = "" // a part, or figures that mean nothing, must not replace all
	}
	exit(run(ctx, size, *only, *out, *profile))
}

// count is an option that says how many.
func count(name string, value int, usage string) *int {
	n := value
	flag.Func(name, fmt.Sprintf("%s (default %d)", usage, value), func(found string) error {
		var err error
		if n, err = strconv.Atoi(found); err != nil || n < 1 {
			return errors.New("expected a whole number, at least 1")
		}
		return nil
	})
	return &n
}

// results is where the figures of this repository are kept.
const results = "results"

// usage explains the command.
func usage() {
	out := flag.CommandLine.Output()
	fmt.Fprint(out, `Measures Gatehouse beside a bare Caddy, the floor of what Go and Caddy leave
possible, and HAProxy where it is installed. It needs Linux and two cores.

Usage:
  go -C bench run . [options]

Examples:
  go -C bench run .                             everything, some twenty minutes
  go -C bench run . -quick                      that it works, in less than a minute
  go -C bench run . -only flood,reload          two parts, printed only
  go -C bench run . -only matrix -largest 1000 -profile cpu.out

Parts:
`)
	for _, p := range parts {
		fmt.Fprintf(out, "  %-9s %s\n", p.name, p.about)
	}
	fmt.Fprint(out, "\nOptions:\n")
	flag.PrintDefaults()
}

// exit ends the process; Ctrl-C is a failure too, as results are missing then.
func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; some results are missing")
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}
