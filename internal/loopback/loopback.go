// Package loopback says which names and addresses lead to this machine alone. It
// is one rule for all who ask.
package loopback

import (
	"net"
	"net/netip"
	"strings"
)

// Host reports whether a host of a URL or a request, without a port, is loopback:
// localhost and the names below it, whatever their case and with or without the
// dot at the end (RFC 6761 section 6.3), 127.0.0.0/8 and ::1, in brackets or not,
// mapped into IPv6 or not. No name is looked up.
func Host(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		host = strings.TrimSuffix(inner, "]")
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Zone() == "" && address.Unmap().IsLoopback()
}

// Net reports whether an address of a connection is loopback. A unix socket is
// not: it has no address of its own.
func Net(address net.Addr) bool {
	if address == nil {
		return false
	}
	parsed, err := netip.ParseAddrPort(address.String())
	return err == nil && parsed.Addr().Unmap().IsLoopback()
}
