package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// startProfile takes a CPU profile of a server, from its admin endpoint, while a
// set of the matrix is measured, in its own spells and those of the others. The
// func given waits for its end.
func (s *stage) startProfile(v *server, wanted bool) (wait func() error) {
	if !wanted || s.profile == "" {
		return func() error { return nil }
	}
	seconds := max(1, int(s.size.spell*time.Duration(s.size.spells*s.size.rounds*atHAProxy)/time.Second))
	done := make(chan error, 1)
	go func() { done <- fetchProfile(v, seconds, s.profile) }()
	return func() error { return <-done }
}

func fetchProfile(v *server, seconds int, file string) error {
	res, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", v.admin, seconds))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, res.Body); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
