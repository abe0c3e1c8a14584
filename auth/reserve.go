package auth

// The reserve is heap that is set aside for tokens to come, and never written to,
// so it takes no memory by itself. Go collects garbage whenever the heap has
// doubled. That of a small Caddy doubles every thousand requests, and collecting
// is a fifth of what a request costs. With the reserve it does so a third as
// often, and a request with everything on costs about as much as one to a bare
// Caddy (`go run ./bench` has a bare Caddy with as much set aside beside it). The
// price is as much garbage that waits to be collected. The more tokens there is
// room for, the larger is the heap by itself, and the smaller the reserve. GOGC
// and GOMEMLIMIT mean what they always do.
const (
	reserveSize     = 10 << 20 // bytes
	reserveForToken = 48       // bytes of it that go for each token there is room for
)

func newReserve(tokens int) []byte {
	return make([]byte, max(0, reserveSize-tokens*reserveForToken))
}
