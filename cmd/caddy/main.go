// Command caddy is a Caddy with Gatehouse built in, for development and for
// trying it out: `go run ./cmd/caddy demo`.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	// The modules that every Caddy build carries, and ours.
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/gatehouse-proxy/gatehouse/caddymodule"
)

func main() {
	caddycmd.Main()
}
