package caddymodule

// reserveSize is heap that a gate sets aside and never writes to, so it takes no
// memory by itself. Go collects garbage whenever the heap has doubled. That of a
// small Caddy doubles every thousand requests, and collecting is a fifth of what
// a request costs. With this, it does so a third as often, and a request with
// everything on costs about as much as one to a bare Caddy (`go run ./bench`
// has a bare Caddy with as much set aside beside it). The price is as much
// garbage that waits to be collected. GOGC and GOMEMLIMIT mean what they always do.
const reserveSize = 6 << 20 // bytes

func newReserve() []byte { return make([]byte, reserveSize) }
