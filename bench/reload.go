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
	servers, err := s.startAll(bareConfig(), s.everythingConfig())
	if err != nil {
		return err
	}
	defer stopAll(servers)
	if _, err := s.warm(servers, s.usual()); err != nil {
		return err
	}
	took := make([]report.Samples, len(servers))
	for range s.size.reloads {
		for i, v := range servers {
			d, err := reload(ctx, v)
			if err != nil {
				return named(v, err)
			}
			took[i].Add(d.Seconds() * 1e3)
		}
	}
	section := s.report.Section("A reload", "server", "ms", "added ms")
	section.Note("The whole Caddyfile over the admin endpoint, adapted and loaded, %d times.", s.size.reloads)
	for i, v := range servers {
		section.Row(v.name, took[i].Show(1), took[i].Minus(took[0]).Show(1))
	}
	s.goal("a reload, beside one without Gatehouse", " ms", 5, took[1].Minus(took[0]))
	return nil
}

func reload(ctx context.Context, v *server) (time.Duration, error) {
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
