package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/machine"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
)

// haproxyFor reports whether HAProxy can be measured with an algorithm: it must be
// installed, and its jwt_verify knows no EdDSA before version 3.
func haproxyFor(algorithm string) bool {
	_, err := exec.LookPath("haproxy")
	return err == nil && algorithm != "EdDSA"
}

// haproxyConfig asks of a token what a careful operator of HAProxy can.
const haproxyConfig = `global
	nbthread 1
	maxconn 1000
defaults
	mode http
	timeout connect 5s
	timeout client 1h
	timeout server 1h
	timeout http-keep-alive 1h
frontend bench
	bind ADDRESS
	http-request set-var(txn.bearer) http_auth_bearer
	http-request set-var(txn.now) date()
	http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
	http-request return status 401 unless { var(txn.bearer),jwt_header_query('$.alg') -m str ALGORITHM }
	http-request return status 401 unless { var(txn.bearer),jwt_payload_query('$.iss') -m str ISSUER }
	http-request return status 401 unless { var(txn.bearer),jwt_payload_query('$.aud') -m str AUDIENCE }
	http-request return status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
	http-request return status 401 unless { var(txn.bearer),jwt_verify("ALGORITHM","KEY") 1 }
	http-request return status 200
`

// startHAProxy starts it on the servers' core.
func (s *stage) startHAProxy(ctx context.Context, algorithm string) (*server, error) {
	v, err := s.prepare("HAProxy `jwt_verify`", "haproxy.cfg")
	if err != nil {
		return nil, err
	}
	v.admin = ""
	key := filepath.Join(filepath.Dir(v.file), "key.pem")
	kid := strings.ToLower(algorithm) + fmt.Sprintf("-%d", indexOf(algorithm)+1)
	if err := os.WriteFile(key, s.issuer.PublicPEM(kid), 0o600); err != nil {
		return nil, err
	}
	text := strings.NewReplacer("ADDRESS", v.address, "ALGORITHM", algorithm, "ISSUER", s.issuer.URL,
		"AUDIENCE", tokens.Audience, "KEY", key).Replace(haproxyConfig)
	if err := os.WriteFile(v.file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	v.cmd = exec.Command("haproxy", "-db", "-f", v.file)
	v.cmd.Stderr = os.Stderr
	v.stdin = killer{v.cmd}
	if err := machine.StartOn(v.cmd, serverCore); err != nil {
		return nil, fmt.Errorf("starting HAProxy: %w", err)
	}
	if err := awaitPort(ctx, v.address); err != nil {
		return nil, errors.Join(err, v.stop())
	}
	return v, nil
}

// killer ends a process that does not watch its standard input.
type killer struct{ cmd *exec.Cmd }

// Close ends it.
func (k killer) Close() error { return k.cmd.Process.Kill() }

var _ io.Closer = killer{}

// awaitPort waits until somebody listens.
func awaitPort(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nobody listens on %s: %w", address, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
