package loopback

import (
	"net"
	"testing"
)

func TestHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "localhost.": true, "idp.localhost": true, "a.b.LOCALHOST.": true,
		"127.0.0.1": true, "127.255.0.3": true, "::1": true, "[::1]": true, "::ffff:127.0.0.1": true,
		"": false, ".": false, "notlocalhost": false, "localhost.example.com": false, "127.0.0.1.example.com": false,
		"128.0.0.1": false, "0.0.0.0": false, "::": false, "[::]": false, "10.0.0.1": false, "::2": false, "127.1": false,
		"2130706433": false, "0x7f.0.0.1": false, "127.0.0.1:80": false, "localhost:80": false,
	} {
		if got := Host(host); got != want {
			t.Errorf("%q: got %t", host, got)
		}
	}
}

func TestNet(t *testing.T) {
	for _, c := range []struct {
		address net.Addr
		want    bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2019}, true},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 2019}, true},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 2019}, false},
		{&net.TCPAddr{Port: 2019}, false},
		{&net.UnixAddr{Name: "/run/caddy.sock"}, false},
		{nil, false},
	} {
		if got := Net(c.address); got != c.want {
			t.Errorf("%v: got %t", c.address, got)
		}
	}
}
