package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

// usual are the requests of the parts that do not vary them.
func (s *stage) usual() ([][]byte, error) {
	list, err := s.tokens("RS256", s.size.sets[len(s.size.sets)/2])
	return requests(list), err
}

// warmed starts servers that remember the usual tokens.
func (s *stage) warmed(ctx context.Context, configs ...config) (servers []*server, list [][]byte, err error) {
	if list, err = s.usual(); err != nil {
		return nil, nil, err
	}
	if servers, err = s.startAll(configs...); err != nil {
		return nil, nil, err
	}
	if _, err = s.warm(ctx, servers, list); err != nil {
		stopAll(servers)
		return nil, nil, err
	}
	return servers, list, nil
}

// measureProxy has the requests answered by an upstream, on the load's core.
func measureProxy(ctx context.Context, s *stage) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	upstream := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Minute}
	go func() { _ = upstream.Serve(listener) }() // until it is closed
	defer upstream.Close()
	at := listener.Addr().String()
	servers, list, err := s.warmed(ctx, bareConfig().proxied(at), s.everythingConfig().proxied(at), headersConfig(at))
	if err != nil {
		return err
	}
	defer stopAll(servers)
	found, err := s.rounds(ctx, servers, s.loaded(list), all(200))
	if err != nil {
		return err
	}
	section := s.report.Section(fmt.Sprintf("Behind `reverse_proxy`: RS256, %d tokens", len(list)), "server", "CPU µs a request", "to bare", "requests a second", "p99 µs")
	section.Note("Gatehouse also adds four headers here, which the proxy copies and writes and the upstream reads. What that alone costs shows the last server: a bare Caddy whose reverse_proxy sets four headers of the same length to fixed values.")
	for i, v := range servers {
		section.Row(v.name, found[i].cpu.Show(1), found[i].cpu.To(found[0].cpu).ShowQuartiles(3), found[i].rate.Show(0), found[i].p99.Show(0))
	}
	s.goal("remembered token behind `reverse_proxy`, to bare", " ×", 1.03, found[1].cpu.To(found[0].cpu))
	return nil
}

// pacedRounds is how many rounds of one spell there are instead of one of many.
const pacedRounds = 4

// measurePaced compares latencies where nothing queues.
func measurePaced(ctx context.Context, s *stage) error {
	servers, list, err := s.warmed(ctx, bareConfig(), s.everythingConfig())
	if err != nil {
		return err
	}
	defer stopAll(servers)
	// A p99 hangs on the few moments when something else ran: the more of them are
	// compared, the firmer is the median.
	finer := *s
	finer.size.rounds, finer.size.spells = s.size.rounds*pacedRounds, 1
	found, err := finer.rounds(ctx, servers, paced(s.size.paced, list), all(200))
	if err != nil {
		return err
	}
	section := s.report.Section("At 1 000 requests a second", "server", "p50 µs", "p99 µs", "p99 to bare")
	section.Note("Here a round is one spell of %s for each server, and there are %d of them.", s.size.paced, finer.size.rounds)
	for i, v := range servers {
		section.Row(v.name, found[i].p50.Show(0), found[i].p99.Show(0), found[i].p99.To(found[0].p99).ShowQuartiles(2))
	}
	s.goal("p99 at 1 000 requests a second, to bare", " ×", 1.1, found[1].p99.To(found[0].p99))
	return nil
}

// measureCores compares a server on two cores with one on one.
func measureCores(ctx context.Context, s *stage) error {
	var servers []*server
	defer func() { stopAll(servers) }()
	for _, c := range []config{bareConfig(), s.everythingConfig()} {
		for _, cores := range [][]int{{serverCore}, {serverCore, loadCore}} {
			v, err := s.startCaddy(c, cores...)
			if err != nil {
				return err
			}
			servers = append(servers, v)
		}
	}
	list, err := s.usual()
	if err != nil {
		return err
	}
	if _, err := s.warm(ctx, servers, list); err != nil {
		return err
	}
	found, err := s.rounds(ctx, servers, s.loaded(list), all(200))
	if err != nil {
		return err
	}
	section := s.report.Section("Two cores", "server", "CPU µs a request, one core", "two cores", "two cores do")
	section.Note("The load shares the cores here, so that requests per second would measure the machine. What two cores do is worked out from the processor time: twice that of one core, unless a request costs more when two cores work on the same memory.")
	var twice []report.Samples
	for i := 0; i < len(servers); i += 2 {
		ratio := found[i].cpu.To(found[i+1].cpu)
		for j := range ratio {
			ratio[j] *= 2
		}
		twice = append(twice, ratio)
		section.Row(servers[i].name, found[i].cpu.Show(1), found[i+1].cpu.Show(1), ratio.ShowQuartiles(2)+" ×")
	}
	s.goal("what two cores of bare Caddy do, to two of Gatehouse", " ×", 1.05, twice[0].To(twice[1]))
	return nil
}
