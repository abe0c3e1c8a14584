package main

import (
	"fmt"
	"io"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// serveCommand has this program be a Caddy, with the Caddyfile that is named
// behind it.
const serveCommand = "serve"

// ready is what a server prints when it serves.
const ready = "ready\n"

// serve runs a Caddyfile until the standard input ends, which it does when the
// measuring process is gone, however that came about.
func serve(file string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the Caddyfile: %w", err)
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(body, map[string]any{"filename": file})
	if err != nil {
		return fmt.Errorf("adapting %s: %w", file, err)
	}
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("loading %s: %w", file, err)
	}
	fmt.Print(ready)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return caddy.Stop()
}
