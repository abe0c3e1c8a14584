package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gatehouse-proxy/gatehouse/internal/demo"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "demo",
		Usage: "[--port <number>] [--config <file>] [--verbose]",
		Short: "Runs the gateway of Caddyfile.example with everything it needs",
		Long: `
Starts a throw-away issuer and a throw-away upstream on loopback, puts the gateway
of Caddyfile.example between them, and prints curl lines to paste into another
terminal, each with what it shows. Ctrl-C ends it and removes everything it made.

Nothing has to be set up. The lines need curl. They are in color on a terminal, unless
NO_COLOR is set. Exits with 0 after Ctrl-C, and with 1 if it cannot start.
`,
		CobraFunc: demoCommand,
	})
}

func demoCommand(cmd *cobra.Command) {
	var o demoOptions
	cmd.Args = cobra.NoArgs
	cmd.Example = `  caddy demo
  caddy demo --port 8080            # the gateway on this port of 127.0.0.1
  caddy demo --config my.Caddyfile  # one that reads the same environment
  caddy demo --verbose              # with Caddy's own log`
	cmd.Flags().IntVarP(&o.port, "port", "p", 0, "Port of the gateway (default: a free one)")
	cmd.Flags().StringVarP(&o.config, "config", "c", "", "Caddyfile to load (default: Caddyfile.example, here or in a folder above)")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "Show all of Caddy's log, not just errors")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return runDemo(ctx, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
}

type demoOptions struct {
	port    int
	config  string
	verbose bool
}

// runDemo serves until ctx is done.
func runDemo(ctx context.Context, o demoOptions, stdout, stderr io.Writer) (err error) {
	if o.port < 0 || o.port > 65535 {
		return fmt.Errorf("--port: found %d, want 1 to 65535, or 0 for a free one", o.port)
	}
	file := o.config
	if file == "" {
		if file, err = demo.FindExample("."); err != nil {
			return err
		}
	}
	stage, err := demo.New(demo.Options{Port: o.port})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()

	stop, err := demo.Serve(ctx, stage, file, o.verbose)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	if _, missing := exec.LookPath("curl"); missing != nil {
		fmt.Fprintln(stderr, "curl is not on the PATH: install it to paste the lines below (https://curl.se, or the package curl)")
	}
	if err := stage.Print(stdout, isTerminal(stdout)); err != nil {
		return err
	}
	<-ctx.Done()
	fmt.Fprintln(stderr, "\nThe demo has ended; what it made is removed.")
	return nil
}

// isTerminal reports whether to color: on a terminal, without NO_COLOR (no-color.org).
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
}
