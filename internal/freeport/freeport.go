// Package freeport finds addresses that nobody listens on, for a server that is
// started later, or stopped and started again.
//
// A port that the system picks may be lost in between: the system picks from the
// same range for every outgoing connection. The ports here are below the ranges that
// Linux, macOS and Windows pick from.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// The ports looked at: first, and how many from there on.
const (
	first = 10_000
	count = 32_768 - first // Linux picks from 32768 on
)

// turn counts the ports that this process has looked at. Each process begins
// somewhere else, so that two side by side do not find the same.
var turn atomic.Uint32

func init() { turn.Store(rand.Uint32N(count)) }

// Address gives host:port on 127.0.0.1, a different one with each call until all
// were given. It fails if none is free.
func Address() (string, error) {
	var err error
	for range count {
		port := first + turn.Add(1)%count
		var ln net.Listener
		if ln, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))); err == nil {
			return ln.Addr().String(), ln.Close()
		}
	}
	return "", fmt.Errorf("no port from %d to %d is free: %w", first, first+count-1, err)
}
