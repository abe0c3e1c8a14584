package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// measureScale has more of everything configured: what a request costs must not
// grow with it.
func measureScale(ctx context.Context, s *stage) error {
	usual := s.everythingConfig()
	issuers, err := s.manyIssuers(s.size.issuers)
	if err != nil {
		return err
	}
	configs := []config{usual, issuers}
	if s.license != nil {
		patterns, err := s.manyPatterns(256)
		if err != nil {
			return err
		}
		configs = append(configs, patterns)
	}
	servers, list, err := s.warmed(ctx, configs...)
	if err != nil {
		return err
	}
	defer stopAll(servers)
	found, err := s.rounds(ctx, servers, s.loaded(list), all(200))
	if err != nil {
		return err
	}
	section := s.report.Section("More of everything", "server", "CPU µs a request", "to the usual", "memory MB")
	for i, v := range servers {
		section.Row(v.name, found[i].cpu.Show(1), found[i].cpu.To(found[0].cpu).ShowQuartiles(3), found[i].memory.Show(0))
	}
	return nil
}

// manyIssuers has n-1 more issuers, with keys from a file.
func (s *stage) manyIssuers(n int) (config, error) {
	keys := filepath.Join(s.dir, "jwks.json")
	if err := os.WriteFile(keys, s.issuer.JWKS(), 0o600); err != nil {
		return config{}, err
	}
	var lines []string
	for i := 1; i < n; i++ {
		lines = append(lines, fmt.Sprintf("issuer https://login-%d.example.com {", i),
			"\taudience https://gateway.example.com", "\tjwks_file "+keys, "}")
	}
	c := s.everythingConfig(lines...)
	c.name += fmt.Sprintf(", %d issuers", n)
	return c, nil
}

// manyPatterns has a license for n hosts, of which the last is the site's.
func (s *stage) manyPatterns(n int) (config, error) {
	hosts := make([]string, 0, n)
	for i := 1; i < n; i++ {
		hosts = append(hosts, fmt.Sprintf("*.tenant-%d.example.org", i))
	}
	files, err := newLicense(s.dir, append(hosts, siteHost))
	if err != nil {
		return config{}, err
	}
	c := s.licensedConfig(files, declaredAccounts()...)
	c.name += fmt.Sprintf(", %d host patterns", n)
	return c, nil
}
