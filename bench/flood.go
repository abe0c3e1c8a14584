package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
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

// What tokens with invented key ids may cost the issuer: some fetches in a row, and
// then one in a while.
const (
	keyBurst    = 3
	keyInterval = 5 * time.Second
)

// strangers is how many connections flood: each waits for the issuer's next answer,
// and together they are fewer than may wait.
const strangers = 500

// measureFlood sends tokens with invented key ids beside good ones, in turns with as
// many good ones in their place. In the middle of each spell the issuer begins to
// sign with a new key.
func measureFlood(ctx context.Context, s *stage) error {
	servers, good, err := s.warmed(ctx, s.everythingConfig())
	if err != nil {
		return err
	}
	defer stopAll(servers)
	v := servers[0]
	spells := floodSpells{
		stage: s, server: v, good: good,
		other: load.NewClient(v.address, strangers), rotated: load.NewClient(v.address, connections),
		// Enough that none comes twice; those of ES256 are signed faster.
		invented: requests(tokens.UnknownKeys(s.issuer, "ES256", s.size.floods*int(1000*s.size.flood.Seconds()))),
	}
	defer spells.other.Close()
	defer spells.rotated.Close()
	began, fetched := time.Now(), s.issuer.JWKSFetches()
	err = spells.measure(ctx)
	fetched = s.issuer.JWKSFetches() - fetched
	if err != nil {
		return err
	}
	took := time.Since(began)
	allowed := keyBurst + took.Seconds()/keyInterval.Seconds()
	flood, rotated := load.Join(spells.floods), load.Join(spells.rotations)
	section := s.report.Section("Flood of unknown `kid`s", "", "good tokens: p50 µs", "p99 µs", "p99 to before")
	section.Note("1 000 good tokens a second, none refused; beside them for %s as many good ones, then for %[1]s tokens with invented key ids over %d connections, up to 1 000 a second, each of which waits for the issuer's next answer; and so on, %d spells of each: %d invented ones, answered %v. In the midst of each spell of them %d requests come with tokens of a new key: answered %v, the last after %s. The issuer was asked for its keys %d times in %s.",
		s.size.flood, strangers, s.size.floods, flood.Answers(), flood.Statuses, connections, rotated.Statuses,
		rotated.Quantile(1).Round(time.Millisecond), fetched, took.Round(time.Second))
	section.Row("beside good ones", spells.calm.p50.Show(0), spells.calm.p99.Show(0), "")
	section.Row("beside the flood", spells.flooded.p50.Show(0), spells.flooded.p99.Show(0), spells.flooded.p99.To(spells.calm.p99).ShowQuartiles(2))
	s.goal(fmt.Sprintf("flood of unknown `kid`s: fetches, to %d and one in 5 s", keyBurst), " ×", 1, one(float64(fetched)/allowed))
	s.goal("flood of unknown `kid`s: p99 of good tokens, to before", " ×", 2, spells.flooded.p99.To(spells.calm.p99))
	s.goal("flood of unknown `kid`s: refused of a rotation in its midst", "", 0, one(float64(rotated.Others(200))))
	return nil
}

// floodSpells are spells of good tokens beside other good ones and beside a
// flood, in turns.
type floodSpells struct {
	stage          *stage
	server         *server
	other, rotated *load.Client
	good, invented [][]byte

	calm, flooded     latencies
	floods, rotations []*load.Result
}

func (f *floodSpells) measure(ctx context.Context) error {
	d := f.stage.size.flood
	for range f.stage.size.floods {
		if err := ctx.Err(); err != nil {
			return err
		}
		calm, err := beside(f.server, d, f.good, func() { f.other.Paced(d, 1000, f.good) })
		if err != nil {
			return err
		}
		flooded, err := beside(f.server, d, f.good, func() {
			var wait sync.WaitGroup
			wait.Go(func() { f.rotations = append(f.rotations, f.rotate(d/2)) })
			f.floods = append(f.floods, f.other.Paced(d, 1000, f.invented))
			wait.Wait()
		})
		if err != nil {
			return err
		}
		f.calm.add(calm)
		f.flooded.add(flooded)
	}
	return nil
}

// rotate has the issuer publish a new key after a while, and sends tokens of it.
func (f *floodSpells) rotate(after time.Duration) *load.Result {
	issuer := f.stage.issuer
	kid := issuer.Prepare("ES256")
	fresh := make([]string, 0, connections)
	for range connections {
		fresh = append(fresh, issuer.Mint(tokens.Claims(0), idp.WithKey(kid)))
	}
	time.Sleep(after)
	issuer.Publish(kid)
	return f.rotated.Each(requests(fresh))
}

// latencies are those of some spells, in µs.
type latencies struct{ p50, p99 report.Samples }

func (l *latencies) add(r *load.Result) {
	l.p50.AddTime(r.Quantile(0.5))
	l.p99.AddTime(r.Quantile(0.99))
}
