package freeport

import (
	"net"
	"testing"
)

func TestAddress(t *testing.T) {
	given := make(map[string]bool)
	for range 100 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if port := ln.Addr().(*net.TCPAddr).Port; given[address] || port < first || port >= first+count {
			t.Errorf("got %s, given before: %t", address, given[address])
		}
		given[address] = true
	}
}

func TestTakenIsPassedOver(t *testing.T) {
	address, err := Address()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	turn.Add(^uint32(0)) // the same port once more
	if got, err := Address(); err != nil || got == address {
		t.Errorf("got %s, %v, want another than %s", got, err, address)
	}
}
