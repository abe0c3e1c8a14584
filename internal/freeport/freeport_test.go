package freeport

import (
	"net"
	"testing"
)

// taken gives an address that is listened on until the test ends.
func taken(t *testing.T) *net.TCPAddr {
	t.Helper()
	address, err := Address()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().(*net.TCPAddr)
}

func TestAddress(t *testing.T) {
	given := make(map[int]bool)
	for range 3 * blockSize {
		address := taken(t)
		if port := address.Port; given[port] || port < first || port >= first+blocks*blockSize {
			t.Errorf("got %s, given before: %t", address, given[port])
		}
		given[address.Port] = true
		quic, err := net.ListenPacket("udp", address.String()) // as a server of HTTP/3 does
		if err != nil {
			t.Fatal(err)
		}
		if err := quic.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTakenIsPassedOver(t *testing.T) {
	address := taken(t).String()
	own.used-- // the same port once more
	if got, err := Address(); err != nil || got == address {
		t.Errorf("got %s, %v, want another than %s", got, err, address)
	}
}

// A block that is claimed cannot be claimed by another process, which would ask the
// system in the same way.
func TestClaimsAreHeld(t *testing.T) {
	for range blockSize {
		taken(t)
	}
	for _, c := range own.claims {
		if conn, err := net.ListenPacket("udp", local(c.port)); err == nil {
			conn.Close()
			t.Errorf("port %d is not held", c.port)
		}
	}
}

// Own ports come again when a process has had its share.
func TestTheyComeAgain(t *testing.T) {
	for range (most + 1) * blockSize {
		if _, err := Address(); err != nil {
			t.Fatal(err)
		}
	}
	if len(own.claims) != most {
		t.Errorf("%d blocks are claimed, want %d", len(own.claims), most)
	}
}
