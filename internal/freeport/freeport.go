// Package freeport finds addresses that nobody listens on, for a server that is
// started later, or stopped and started again.
//
// A port that the system picks may be lost in between: the system picks from the
// same range for every outgoing connection. The ports here are below the ranges that
// Linux, macOS and Windows pick from, and processes side by side have ports of their
// own.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports, in blocks that a process claims one by one.
const (
	first     = 10_000
	blockSize = 64
	blocks    = (32_768 - first) / blockSize // Linux picks from 32768 on
	most      = blocks / 8                   // of one process; then its own come again
)

// own is what this process has claimed.
var own struct {
	sync.Mutex
	claims []claim
	at     int // the claim in use
	used   int // ports of it that were looked at
}

// claim is a block whose first port is held with UDP until the process ends, and given to
// nobody: a server of HTTP/3 needs both.
type claim struct {
	port int
	held net.PacketConn
}

// Address gives host:port on 127.0.0.1, a different one with each of some 2800
// calls. It fails if none is free.
func Address() (string, error) {
	own.Lock()
	defer own.Unlock()
	for range most * blockSize {
		if len(own.claims) == 0 || own.used == blockSize {
			if err := nextBlock(); err != nil {
				return "", err
			}
		}
		port := own.claims[own.at].port + own.used
		own.used++
		if ln, err := net.Listen("tcp", local(port)); err == nil {
			return ln.Addr().String(), ln.Close()
		}
	}
	return "", fmt.Errorf("none of the ports looked at between %d and %d is free", first, first+blocks*blockSize-1)
}

// nextBlock goes on with another block, behind its first port; own is locked.
func nextBlock() error {
	own.used = 1
	begin := rand.IntN(blocks)
	for i := 0; i < blocks && len(own.claims) < most; i++ {
		port := first + (begin+i)%blocks*blockSize
		if held, err := net.ListenPacket("udp", local(port)); err == nil {
			own.claims = append(own.claims, claim{port, held})
			own.at = len(own.claims) - 1
			return nil
		}
	}
	if len(own.claims) == 0 {
		return errors.New("other processes have claimed all ports that are for tests")
	}
	own.at = (own.at + 1) % len(own.claims)
	return nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
