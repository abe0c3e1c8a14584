// Package load sends requests to a server over keep-alive connections and notes
// how long each answer took. Requests are ready-made bytes, and of an answer
// only status and length are read, so that one core can keep a Caddy on another
// core busy.
package load

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Client holds connections to one server. It is used by one measurement at a
// time.
type Client struct {
	connections []*connection
}

// NewClient makes a client of that many connections to host:port, opened with
// their first request.
func NewClient(address string, connections int) *Client {
	c := new(Client)
	for range connections {
		c.connections = append(c.connections, &connection{address: address})
	}
	return c
}

// Close closes the connections.
func (c *Client) Close() {
	for _, conn := range c.connections {
		conn.close()
	}
}

// Result is what came of some requests.
type Result struct {
	// Elapsed is how long sending went on.
	Elapsed time.Duration

	// Statuses counts the answers by status.
	Statuses map[int]int

	// Failed counts requests without an answer; Err is why the first failed.
	Failed int
	Err    error

	// Latencies are how long the answers took, sorted.
	Latencies []time.Duration

	// FirstOK is when, since sending began, the first answer with status 200
	// was there; negative if there was none.
	FirstOK time.Duration
}

// Answers is how many requests were answered.
func (r *Result) Answers() int { return len(r.Latencies) }

// Others counts the answers of another status than the wanted one, and the
// requests that failed.
func (r *Result) Others(want int) int { return r.Answers() - r.Statuses[want] + r.Failed }

// PerSecond is how many requests were answered in a second.
func (r *Result) PerSecond() float64 { return float64(r.Answers()) / r.Elapsed.Seconds() }

// Quantile gives the latency that the fraction q of the answers did not exceed;
// 0 if there were none.
func (r *Result) Quantile(q float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(int(q*float64(len(r.Latencies))), len(r.Latencies)-1)]
}

// Check gives an error unless every answer had the wanted status.
func (r *Result) Check(want int) error {
	if r.Answers() > 0 && r.Others(want) == 0 {
		return nil
	}
	return fmt.Errorf("got statuses %v and %d failures (%v), expected %d only", r.Statuses, r.Failed, r.Err, want)
}

// For sends requests one after the other on each connection for some time.
// Every connection goes round them, beginning at a place of its own.
func (c *Client) For(d time.Duration, requests [][]byte) *Result {
	return c.run(requests, func(_ int, start time.Time) func() bool {
		return func() bool { return time.Since(start) < d }
	})
}

// Each sends every request once.
func (c *Client) Each(requests [][]byte) *Result {
	share := (len(requests) + len(c.connections) - 1) / len(c.connections)
	return c.run(requests, func(i int, _ time.Time) func() bool {
		left := min(share, len(requests)-i*share)
		c.connections[i].next = i * share
		return func() bool { left--; return left >= 0 }
	})
}

// Paced sends that many requests a second, spread evenly, for some time. The
// latency counts from the sending, as the client's own timer is not the
// server's fault; connections are plenty, so that none is waited for.
func (c *Client) Paced(d time.Duration, perSecond int, requests [][]byte) *Result {
	gap := time.Second * time.Duration(len(c.connections)) / time.Duration(perSecond)
	return c.run(requests, func(i int, start time.Time) func() bool {
		due := start.Add(gap * time.Duration(i) / time.Duration(len(c.connections)))
		return func() bool {
			time.Sleep(time.Until(due))
			due = due.Add(gap)
			return time.Since(start) < d
		}
	})
}

// run sends on all connections for as long as go-on functions, one a connection,
// say so.
func (c *Client) run(requests [][]byte, pace func(i int, start time.Time) (goOn func() bool)) *Result {
	parts := make([]Result, len(c.connections))
	var wait sync.WaitGroup
	for i, conn := range c.connections {
		conn.next = i * len(requests) / len(c.connections)
	}
	start := time.Now()
	for i, conn := range c.connections {
		goOn := pace(i, start)
		wait.Go(func() { parts[i] = conn.run(requests, start, goOn) })
	}
	wait.Wait()
	return join(parts, time.Since(start))
}

func (c *connection) run(requests [][]byte, start time.Time, goOn func() bool) Result {
	r := Result{Statuses: make(map[int]int), FirstOK: -1}
	for goOn() {
		request := requests[c.next%len(requests)]
		c.next++
		sent := time.Now()
		status, err := c.do(request)
		if err != nil {
			r.Failed++
			r.Err = err
			if r.Failed > 100 {
				return r // the server is gone
			}
			continue
		}
		r.Latencies = append(r.Latencies, time.Since(sent))
		r.Statuses[status]++
		if status == 200 && r.FirstOK < 0 {
			r.FirstOK = time.Since(start)
		}
	}
	return r
}

func join(parts []Result, elapsed time.Duration) *Result {
	all := &Result{Elapsed: elapsed, Statuses: make(map[int]int), FirstOK: -1}
	for i := range parts {
		part := &parts[i]
		all.Latencies = append(all.Latencies, part.Latencies...)
		for status, n := range part.Statuses {
			all.Statuses[status] += n
		}
		all.Failed += part.Failed
		if all.Err == nil {
			all.Err = part.Err
		}
		if part.FirstOK >= 0 && (all.FirstOK < 0 || part.FirstOK < all.FirstOK) {
			all.FirstOK = part.FirstOK
		}
	}
	slices.Sort(all.Latencies)
	return all
}
