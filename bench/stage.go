package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/machine"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// The cores: servers on one, the load and all else on another.
const (
	serverCore = 0
	loadCore   = 1
)

// connections is how many keep-alive connections load a server.
const connections = 32

// siteHost is the host that requests name.
const siteHost = "gateway.example.com"

var algorithms = []string{"RS256", "ES256", "EdDSA"}

// stage is what all parts share.
type stage struct {
	size    size
	dir     string
	self    string // this program, which is the servers too
	profile string
	issuer  *idp.Issuer
	license *licenseFiles // nil where this build has no require_license
	serial  int           // of servers, for folders of their own
	began   time.Time
	good    map[string][]string // tokens, by algorithm

	progress *progress

	report report.Report
	chart  report.Chart
	goals  []goal
}

func newStage(dir string, size size) (*stage, error) {
	if runtime.NumCPU() < 2 {
		return nil, fmt.Errorf("measuring needs two cores, one for the server and one for the load: found %d", runtime.NumCPU())
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	issuer, err := idp.New(idp.WithAlgorithms(algorithms...), idp.WithAudience(tokens.Audience))
	if err != nil {
		return nil, fmt.Errorf("starting the issuer: %w", err)
	}
	s := &stage{size: size, dir: dir, self: self, issuer: issuer, began: time.Now(), good: make(map[string][]string)}
	s.progress = newProgress(os.Stderr)
	if s.license, err = newLicense(dir, []string{siteHost}); err != nil {
		return nil, err
	}
	debug.SetGCPercent(400) // the client's memory is no matter, its pauses are
	runtime.GOMAXPROCS(1)
	return s, machine.PinSelf(loadCore)
}

func (s *stage) close() { _ = s.issuer.Close() }

// tokens gives the first n good tokens of an algorithm, made when they are first
// asked for.
func (s *stage) tokens(algorithm string, n int) ([]string, error) {
	have := len(s.good[algorithm])
	if have >= n {
		return s.good[algorithm][:n], nil
	}
	err := onAllCores(func() {
		more := tokens.Good(s.issuer, algorithm, n-have, func(done int) {
			s.progress.step(algorithm+" tokens signed", have+done, n)
		})
		s.good[algorithm] = append(s.good[algorithm], more...)
	})
	return s.good[algorithm], err
}

// onAllCores lets this process do something with the servers' core, too, which
// is idle meanwhile.
func onAllCores(do func()) error {
	if err := machine.PinSelf(serverCore, loadCore); err != nil {
		return err
	}
	before := runtime.GOMAXPROCS(2)
	do()
	runtime.GOMAXPROCS(before)
	return machine.PinSelf(loadCore)
}

func requests(list []string) [][]byte { return tokens.Requests(siteHost, list) }

// features says what "everything" is in this build.
func (s *stage) features() string {
	text := "Everything means: a hundred service accounts, a scope, a group and a claim rule, four identity headers, metrics"
	if s.license == nil {
		return text + "; this build has no `require_license` yet."
	}
	return text + ", `require_license`."
}

func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.Create(filepath.Clean(name))
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		_ = file.Close()
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return file.Close()
}
