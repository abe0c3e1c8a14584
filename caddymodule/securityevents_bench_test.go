package caddymodule_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// sendersVariable makes this binary send events instead of running tests: it names
// where to.
const sendersVariable = "GATEHOUSE_TEST_SENDERS"

// BenchmarkBurstOfEvents sends 10,000 events at once while 1,000 requests a second
// pass, and reports how long those took before and meanwhile. The gateway, the senders
// of the events and this process, which sends the requests, are three: what the senders
// do for themselves must not hold the requests up. Use -benchtime 1x.
func BenchmarkBurstOfEvents(b *testing.B) {
	const events, window = 10_000, 5 * time.Second
	issuer, err := idp.New(idp.WithAlgorithms("ES256"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = issuer.Close() })
	gateway := startNodeOf(b, b.TempDir(), issuer, strings.Replace(nodeConfig, "audience https://gateway.example.com",
		"audience https://gateway.example.com\nevents {\naudience https://events.example.com\npush\n}", 1))
	gateway.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 500
	caller := bearer(issuer.Mint(claims{"sub": "alice", "azp": "portal"}))
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
		b.ReportMetric(percentile(b, gateway.client, gateway.url, caller, &ended), "ms-p99-before")

		senders := exec.Command(os.Args[0])
		senders.Env = append(os.Environ(), sendersVariable+"="+gateway.url+"/gatehouse/issuers/acme/events")
		senders.Stdin, senders.Stderr = strings.NewReader(strings.Join(tokens, "\n")), os.Stderr
		ended.Store(false)
		began := time.Now()
		go func() {
			if err := senders.Run(); err != nil {
				b.Errorf("the senders: %v", err)
			}
			b.ReportMetric(events/time.Since(began).Seconds(), "events/s")
			ended.Store(true)
		}()
		b.ReportMetric(percentile(b, gateway.client, gateway.url, caller, &ended), "ms-p99-meanwhile")
	}
}

// runSenders sends the events of its standard input, one a line, 64 at a time.
func runSenders(address string) error {
	const atOnce = 64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	events := make(chan string)
	failed := make(chan error, atOnce)
	var sending sync.WaitGroup
	for range atOnce {
		sending.Go(func() {
			for event := range events {
				got, err := tryOnce(client, "POST", address, []edit{typed(typeSET, event)})
				if err != nil || got.status != http.StatusAccepted {
					select {
					case failed <- fmt.Errorf("got %d %s, %v", got.status, got.body, err):
					default:
					}
				}
			}
		})
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		events <- lines.Text()
	}
	close(events)
	sending.Wait()
	close(failed)
	return <-failed
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
			got, err := tryOnce(client, "GET", site+"/", []edit{caller})
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
