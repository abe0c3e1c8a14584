package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/machine"
	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
)

// server is a process that is measured.
type server struct {
	name    string
	address string
	admin   string // of Caddy's admin endpoint; empty for HAProxy
	file    string // its configuration
	cmd     *exec.Cmd
	stdin   io.Closer // closing it ends the process
	client  *load.Client
	started time.Time
}

// prepare makes a folder and free addresses for a server.
func (s *stage) prepare(name, file string) (*server, error) {
	s.serial++
	dir := filepath.Join(s.dir, fmt.Sprintf("server-%d", s.serial))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	v := &server{name: name, file: filepath.Join(dir, file)}
	for _, address := range []*string{&v.address, &v.admin} {
		var err error
		if *address, err = freeport.Address(); err != nil {
			return nil, err
		}
	}
	v.client = load.NewClient(v.address, connections)
	return v, nil
}

// readyWithin bounds the start of a server.
const readyWithin = 30 * time.Second

// startCaddy starts this program as a Caddy on some cores.
func (s *stage) startCaddy(c config, cores ...int) (*server, error) {
	v, err := s.prepare(c.name, "Caddyfile")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(v.file, []byte(c.caddyfile(v)), 0o600); err != nil {
		return nil, err
	}
	v.cmd = exec.Command(s.self, serveCommand, v.file)
	v.cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", len(cores)), "HOME="+filepath.Dir(v.file))
	v.cmd.Stderr = os.Stderr
	stdin, err := v.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	v.stdin = stdin
	stdout, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	v.started = time.Now()
	if err := machine.StartOn(v.cmd, cores...); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	// A server that never gets ready is ended, which ends the reading, too.
	patience := time.AfterFunc(readyWithin, func() { _ = v.cmd.Process.Kill() })
	defer patience.Stop()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != ready {
		return nil, errors.Join(fmt.Errorf("%s did not get ready: printed %q, %w", c.name, line, err), v.stop())
	}
	return v, nil
}

// stop ends the process and waits for it.
func (v *server) stop() error {
	v.client.Close()
	_ = v.stdin.Close()
	if err := v.cmd.Wait(); err != nil {
		return fmt.Errorf("stopping %s: %w", v.name, err)
	}
	return nil
}

// stopAll ends servers; their errors are of no use to a measurement that is over.
func stopAll(servers []*server) {
	for _, v := range servers {
		_ = v.stop()
	}
}

// startAll starts a Caddy of each configuration, on the servers' core.
func (s *stage) startAll(configs ...config) (servers []*server, err error) {
	for _, c := range configs {
		v, err := s.startCaddy(c, serverCore)
		if err != nil {
			stopAll(servers)
			return nil, err
		}
		servers = append(servers, v)
	}
	return servers, nil
}

// memory is the server's resident memory, in MB of a million bytes.
func (v *server) memory() (float64, error) {
	bytes, err := machine.Memory(v.cmd.Process.Pid)
	return float64(bytes) / 1e6, err
}

// cpuTime is how much processor time the server has used so far.
func (v *server) cpuTime() (time.Duration, error) {
	used, err := machine.CPUTime(v.cmd.Process.Pid)
	if err != nil {
		return 0, named(v, err)
	}
	return used, nil
}

// lets sends each request once, and expects that all are let in.
func (v *server) lets(requests [][]byte) error {
	return v.allLetIn(v.client.Each(requests))
}

// allLetIn expects that every answer lets in.
func (v *server) allLetIn(r *load.Result) error {
	if err := r.Check(200); err != nil {
		return named(v, err)
	}
	return nil
}

// named says which server an error is of.
func named(v *server, err error) error { return fmt.Errorf("%s: %w", v.name, err) }

// indent puts a tab before each line.
func indent(lines []string) string { return "\t" + strings.Join(lines, "\n\t") + "\n" }
