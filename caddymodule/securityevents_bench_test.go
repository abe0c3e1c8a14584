package caddymodule_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// BenchmarkBurstOfEvents sends 10,000 events at once while 1,000 requests a second
// pass, and reports how long those took before and meanwhile. Use -benchtime 1x.
func BenchmarkBurstOfEvents(b *testing.B) {
	const events, senders, window = 10_000, 64, 5 * time.Second
	issuer, err := idp.New(idp.WithAlgorithms("ES256"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = issuer.Close() })
	site := freeAddress(b)
	config, err := adapt(strings.NewReplacer("DIR", b.TempDir(), "LOG", b.TempDir()+"/log", "ISSUER", issuer.URL, "REFRESH", "1s", "SITE", site,
		"audience https://gateway.example.com", "audience https://gateway.example.com\nevents {\naudience https://events.example.com\npush\n}").Replace(nodeConfig))
	if err != nil {
		b.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = caddy.Stop() })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * senders}}
	b.Cleanup(client.CloseIdleConnections)
	caller := bearer(issuer.Mint(claims{"sub": "alice", "azp": "portal"}))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if got, err := try(client, "GET", "http://"+site+"/", caller); err == nil && got.status == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			b.Fatal("nobody is let in")
		}
	}
	for b.Loop() {
		tokens := make([]string, events)
		for i := range tokens {
			tokens[i] = issuer.Mint(claims{
				"iss": issuer.URL, "aud": "https://events.example.com", "iat": time.Now().Unix(), "jti": rand.Text(),
				"events": claims{caepEvents + "session-revoked": claims{}}, "sub_id": claims{"format": "opaque", "id": fmt.Sprint("user-", i)},
			}, idp.WithoutDefaults(), idp.WithHeader("typ", "secevent+jwt"))
		}
		var ended atomic.Bool
		time.AfterFunc(window, func() { ended.Store(true) })
		b.ReportMetric(percentile(b, client, site, caller, &ended), "ms-p99-before")

		var next atomic.Int64
		var sending sync.WaitGroup
		ended.Store(false)
		began := time.Now()
		for range senders {
			sending.Go(func() {
				for i := next.Add(1) - 1; i < events; i = next.Add(1) - 1 {
					got, err := tryOnce(client, "POST", "http://"+site+"/gatehouse/issuers/acme/events", []edit{typed(typeSET, tokens[i])})
					if err != nil || got.status != http.StatusAccepted {
						b.Errorf("got %d %s, %v", got.status, got.body, err)
						return
					}
				}
			})
		}
		go func() {
			sending.Wait()
			b.ReportMetric(events/time.Since(began).Seconds(), "events/s")
			ended.Store(true)
		}()
		b.ReportMetric(percentile(b, client, site, caller, &ended), "ms-p99-meanwhile")
	}
}

// percentile sends 1,000 requests a second until it is ended, and gives how long the
// slowest of a hundred took, in milliseconds, from when it was due.
func percentile(b *testing.B, client *http.Client, site string, caller edit, ended *atomic.Bool) float64 {
	var mu sync.Mutex
	var took []time.Duration
	var asking sync.WaitGroup
	room := make(chan struct{}, 500) // of files that may be open
	for due := time.Now(); !ended.Load(); due = due.Add(time.Millisecond) {
		time.Sleep(time.Until(due))
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			got, err := tryOnce(client, "GET", "http://"+site+"/", []edit{caller})
			if err != nil || got.status != http.StatusOK {
				b.Errorf("got %d %s, %v", got.status, got.body, err)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(due))
		})
	}
	asking.Wait()
	slices.Sort(took)
	return took[len(took)*99/100].Seconds() * 1000
}
