package auth

// The reserve is heap that is set aside for tokens to come. Go collects garbage
// whenever the heap has doubled. That of a small Caddy doubles every thousand
// requests, and collecting is a fifth of what a request costs. With the reserve it
// does so a third as often, and a request with everything on costs about as much
// as one to a bare Caddy (`go run ./bench` has a bare Caddy with as much set aside
// beside it). The price is as much garbage that waits to be collected, and as much
// less before GOMEMLIMIT; GOGC means what it always does. Nothing is ever written
// to it, so fresh memory that Go makes it of stays untouched.
//
// The more tokens there is room for, the larger is the heap by itself, so piece
// after piece is let go. None is made again: Go would wipe used memory for it.
type reserve [][]byte

const (
	reservePiece    = 1 << 20 // bytes
	reserveForToken = 56      // bytes of it that go for each token there is room for
)

// SetAside is how much of the heap a [Verifier] that remembers tokens sets aside
// at first, in bytes, so that garbage is collected less often.
const SetAside = 10 << 20

func newReserve(tokens int) reserve {
	r := make(reserve, reservePieces(tokens))
	for i := range r {
		r[i] = make([]byte, reservePiece)
	}
	return r
}

// reservePieces is how many pieces are set aside beside room for some tokens.
func reservePieces(tokens int) int {
	return (max(0, SetAside-tokens*reserveForToken) + reservePiece - 1) / reservePiece
}

// shrinkFor lets go what is too much beside room for some tokens.
func (r *reserve) shrinkFor(tokens int) {
	n := min(len(*r), reservePieces(tokens))
	clear((*r)[n:])
	*r = (*r)[:n]
}
