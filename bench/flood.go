package main

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
)

// beside sends good tokens, paced, while something else goes on, and expects
// that all of them are let in.
func beside(v *server, d time.Duration, good [][]byte, other func()) (*load.Result, error) {
	var wait sync.WaitGroup
	wait.Go(other)
	r := v.client.Paced(d, 1000, good)
	wait.Wait()
	return r, v.allLetIn(r)
}

// measureFlood sends tokens with invented key ids beside good ones, in turns
// with as many good ones in their place.
func measureFlood(ctx context.Context, s *stage) error {
	servers, good, err := s.warmed(ctx, s.everythingConfig())
	if err != nil {
		return err
	}
	defer stopAll(servers)
	v := servers[0]
	second := load.NewClient(v.address, connections)
	defer second.Close()
	// Enough that none comes twice; those of ES256 are signed faster.
	invented := requests(tokens.UnknownKeys(s.issuer, "ES256", s.size.floods*int(1000*s.size.flood.Seconds())))
	fetches := watch(s.issuer.JWKSFetches)
	spells := floodSpells{size: s.size, server: v, other: second, good: good, invented: invented}
	err = spells.measure(ctx)
	times := fetches.stop()
	if err != nil {
		return err
	}
	most := mostWithin(times, keyInterval)
	flood := load.Join(spells.floods)
	section := s.report.Section("Flood of unknown `kid`s", "", "good tokens: p50 µs", "p99 µs", "p99 to before")
	section.Note("1 000 good tokens a second, none refused; beside them for %s 1 000 requests a second with good tokens, then for %[1]s 1 000 with invented key ids, and so on, %d spells of each: %d invented ones, answered %v. The issuer was asked for its keys %d times in all, within any %s at most %d times.",
		s.size.flood, s.size.floods, flood.Answers(), flood.Statuses, len(times), keyInterval, most)
	section.Row("beside good ones", spells.calm.p50.Show(0), spells.calm.p99.Show(0), "")
	section.Row("beside the flood", spells.flooded.p50.Show(0), spells.flooded.p99.Show(0), spells.flooded.p99.To(spells.calm.p99).ShowQuartiles(2))
	s.goal("flood of unknown `kid`s: fetches in 5 s", "", 1, one(float64(most)))
	s.goal("flood of unknown `kid`s: p99 of good tokens, to before", " ×", 2, spells.flooded.p99.To(spells.calm.p99))
	return nil
}

// floodSpells are spells of good tokens beside other good ones and beside a
// flood, in turns.
type floodSpells struct {
	size           size
	server         *server
	other          *load.Client
	good, invented [][]byte

	calm, flooded latencies
	floods        []*load.Result
}

func (f *floodSpells) measure(ctx context.Context) error {
	for range f.size.floods {
		if err := ctx.Err(); err != nil {
			return err
		}
		calm, err := beside(f.server, f.size.flood, f.good, func() { f.other.Paced(f.size.flood, 1000, f.good) })
		if err != nil {
			return err
		}
		flooded, err := beside(f.server, f.size.flood, f.good, func() {
			f.floods = append(f.floods, f.other.Paced(f.size.flood, 1000, f.invented))
		})
		if err != nil {
			return err
		}
		f.calm.add(calm)
		f.flooded.add(flooded)
	}
	return nil
}

// latencies are those of some spells, in µs.
type latencies struct{ p50, p99 report.Samples }

func (l *latencies) add(r *load.Result) {
	l.p50.AddTime(r.Quantile(0.5))
	l.p99.AddTime(r.Quantile(0.99))
}
