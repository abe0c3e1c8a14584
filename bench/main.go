// Command bench measures Gatehouse beside a bare Caddy, beside the floor of what
// Go and Caddy leave possible, and beside HAProxy where it is installed:
//
//	go run ./bench                    everything, some ten minutes
//	go run ./bench -quick             each part once and shortly: that it works
//	go run ./bench -only matrix,flood some parts
//
// Every server is a process of its own on one core; the load comes from this
// process on another. Rounds are interleaved, so that what slows the machine for
// a while slows all alike, and ratios are of the same round. What counts is the
// processor time of the server a request, which depends less than requests per
// second on who else uses the machine. The results are written as Markdown and
// SVG into the folder of -out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
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
	quick := flag.Bool("quick", false, "run each part once and shortly; the figures mean nothing")
	out := flag.String("out", "bench/results", "`folder` of results.md and chart.svg; empty: print only")
	only := flag.String("only", "", "comma separated `parts`: "+strings.Join(partNames(), ", "))
	largest := flag.Int("largest", full.sets[len(full.sets)-1], "size of the largest set of `tokens`; signing and warming up a hundred thousand of each algorithm takes minutes")
	profile := flag.String("profile", "", "write a CPU profile of the fully configured server to `file` while the matrix is measured")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	size := full
	size.sets = append(slices.Clone(full.sets[:len(full.sets)-1]), *largest)
	if *quick {
		size = quickly
		if *out == "bench/results" {
			*out = "" // figures that mean nothing must not replace real ones
		}
	}
	exit(run(ctx, size, *only, *out, *profile))
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
