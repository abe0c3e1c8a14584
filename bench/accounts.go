package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// measureAccounts has very many service accounts in storage, which the server
// loads, and changes one of them as another node would.
func measureAccounts(ctx context.Context, s *stage) error {
	folder := filepath.Join(s.dir, "accounts")
	node, detach, err := s.fill(ctx, folder)
	if err != nil {
		return err
	}
	defer node.Close()
	defer detach()

	usual := s.licensedConfig(s.license, declaredAccounts()...)
	many := s.licensedConfig(s.license)
	many.name += fmt.Sprintf(", %d accounts", s.size.accounts)
	many.storage = folder
	servers, err := s.startAll(usual, many)
	if err != nil {
		return err
	}
	defer stopAll(servers)
	v := servers[1]
	list, err := s.usual()
	if err != nil {
		return err
	}
	loaded, err := untilStatus(ctx, v, list[0], 200, v.started)
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
	written, seen, err := s.changeOne(ctx, node, v, list[0])
	if err != nil {
		return err
	}
	more := found[1].memory.Minus(found[0].memory)
	section := s.report.Section(fmt.Sprintf("%d service accounts", s.size.accounts), "figure", "")
	section.Row("CPU µs a request, "+fmt.Sprint(tokens.Accounts)+" accounts", found[0].cpu.Show(1))
	section.Row("with all of them, to that", found[1].cpu.To(found[0].cpu).ShowQuartiles(3))
	section.Row("from the process's start to the first request let in", loaded.Round(time.Millisecond).String())
	section.Row("memory, more than with "+fmt.Sprint(tokens.Accounts), more.Show(0)+" MB")
	section.Row("live on the heap, more than with "+fmt.Sprint(tokens.Accounts), found[1].heap.Minus(found[0].heap).Show(0)+" MB")
	section.Row("one change: written after", written.Show(1)+" ms")
	section.Row("one change: enforced by the other node after", seen.Show(0)+" ms")
	s.goal("a million accounts loaded, from the process's start", " s", 5, one(loaded.Seconds()))
	s.goal("a million accounts, memory", " MB", 300, more)
	s.goal("a million accounts, one change written", " ms", 50, written)
	s.goal("a million accounts, seen by another node (refresh 1 s)", " ms", 1500, one(seen.Max()))
	return nil
}

// fill writes the accounts into a folder, as one node of several would, and
// leaves that node running.
func (s *stage) fill(ctx context.Context, folder string) (*account.Registry, func(), error) {
	node := account.New(registry.Options{WriteLimit: 2 * time.Minute})
	detach := node.Attach(registry.Host[account.Account]{Storage: &certmagic.FileStorage{Path: folder}})
	const step = 100_000
	for from := 0; from < s.size.accounts; from += step {
		s.progress.step("accounts written", from, s.size.accounts)
		var changes []account.Change
		for i := from; i < min(from+step, s.size.accounts); i++ {
			changes = append(changes, account.Change{Op: account.Upsert, Draft: draft(i, account.StatusActive)})
		}
		if _, err := node.Apply(ctx, changes, nil); err != nil {
			detach()
			_ = node.Close()
			return nil, nil, fmt.Errorf("writing the accounts: %w", err)
		}
	}
	return node, detach, nil
}

func draft(i int, status account.Status) *account.Draft {
	return &account.Draft{
		Subject: tokens.Subject(i), Name: fmt.Sprintf("Service account %d", i), Issuer: "acme",
		Status: status, Groups: []string{"deployers"},
	}
}

// changeOne switches the account of a request off and on again, and waits for
// the server, which is another node, to enforce it.
func (s *stage) changeOne(ctx context.Context, node *account.Registry, v *server, request []byte) (written, seen report.Samples, err error) {
	for range s.size.repeats {
		for _, to := range []struct {
			status account.Status
			answer int
		}{{account.StatusInactive, 401}, {account.StatusActive, 200}} {
			d := draft(0, to.status)
			start := time.Now()
			if _, err := node.Apply(ctx, []account.Change{{Op: account.Upsert, Draft: d}}, nil); err != nil {
				return nil, nil, fmt.Errorf("changing an account: %w", err)
			}
			written.Add(time.Since(start).Seconds() * 1e3)
			took, err := untilStatus(ctx, v, request, to.answer, start)
			if err != nil {
				return nil, nil, err
			}
			seen.Add(took.Seconds() * 1e3)
		}
	}
	return written, seen, nil
}

// untilStatus repeats a request until it is answered with a status, and returns
// how long after start that was.
func untilStatus(ctx context.Context, v *server, request []byte, status int, start time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r := v.client.Each([][]byte{request})
		if r.Statuses[status] == 1 {
			return time.Since(start), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s: got statuses %v (%v), expected %d within a minute", v.name, r.Statuses, r.Err, status)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
