package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

// measureReload loads the same configuration again and again, into servers that
// remember tokens.
func measureReload(ctx context.Context, s *stage) error {
	everything := s.everythingConfig()
	servers, _, err := s.warmed(ctx, bareConfig(), everything, longConfig(everything))
	if err != nil {
		return err
	}
	defer stopAll(servers)
	took, cpu := make([]report.Samples, len(servers)), make([]report.Samples, len(servers))
	for n := range s.size.reloads {
		for _, i := range turn(len(servers), n) {
			elapsed, used, err := reload(ctx, servers[i])
			if err != nil {
				return named(servers[i], err)
			}
			took[i].Add(elapsed.Seconds() * 1e3)
			cpu[i].Add(used.Seconds() * 1e3)
		}
	}
	section := s.report.Section("A reload", "server", "ms", "added ms", "added processor time, ms")
	section.Note("The whole Caddyfile over the admin endpoint, adapted and loaded, %d times. Caddy itself takes longer for a longer one; how much, shows the last server: no Gatehouse, but variables that take as many bytes of the configuration.", s.size.reloads)
	for i, v := range servers {
		section.Row(v.name, took[i].Show(1), took[i].Minus(took[0]).ShowQuartiles(1), cpu[i].Minus(cpu[0]).ShowQuartiles(1))
	}
	s.goal("a reload, beside one without Gatehouse", " ms", 5, took[1].Minus(took[0]))
	return nil
}

// reload returns how long it took, and how much processor time of the server.
func reload(ctx context.Context, v *server) (elapsed, used time.Duration, err error) {
	before, err := v.cpuTime()
	if err != nil {
		return 0, 0, err
	}
	if elapsed, err = postConfig(ctx, v); err != nil {
		return 0, 0, err
	}
	after, err := v.cpuTime()
	return elapsed, after - before, err
}

func postConfig(ctx context.Context, v *server) (time.Duration, error) {
	body, err := os.ReadFile(v.file)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+v.admin+"/load", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "text/caddyfile")
	request.Header.Set("Cache-Control", "must-revalidate") // though nothing changed
	request.Close = true                                   // as the endpoint starts anew, too
	start := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return 0, fmt.Errorf("reloading: status %d: %s", response.StatusCode, text)
	}
	return took, nil
}
