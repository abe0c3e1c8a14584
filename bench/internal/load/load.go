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
// Every connection goes round them, beginning at a place of its own; with the
// next call it goes on where it stopped, so that all are sent in the end.
func (c *Client) For(d time.Duration, requests [][]byte) *Result {
	return c.run(c.around(requests), func(_ int, start time.Time) func() bool {
		return func() bool { return time.Since(start) < d }
	})
}

// Each sends every request once.
func (c *Client) Each(requests [][]byte) *Result {
	share := (len(requests) + len(c.connections) - 1) / len(c.connections)
	next := make([]int, len(c.connections))
	each := func(i int) []byte {
		next[i]++
		return requests[i*share+next[i]-1]
	}
	return c.run(each, func(i int, _ time.Time) func() bool {
		left := min(share, len(requests)-i*share)
		return func() bool { left--; return left >= 0 }
	})
}

// Paced sends that many requests a second, spread evenly, for some time; it goes
// round them as For does. The latency counts from the sending, as the client's
// own timer is not the server's fault; connections are plenty, so that none is
// waited for.
func (c *Client) Paced(d time.Duration, perSecond int, requests [][]byte) *Result {
	gap := time.Second * time.Duration(len(c.connections)) / time.Duration(perSecond)
	return c.run(c.around(requests), func(i int, start time.Time) func() bool {
		due := start.Add(gap * time.Duration(i) / time.Duration(len(c.connections)))
		return func() bool {
			time.Sleep(time.Until(due))
			due = due.Add(gap)
			return time.Since(start) < d
		}
	})
}

// around gives a connection's next request, round and round.
func (c *Client) around(requests [][]byte) func(i int) []byte {
	return func(i int) []byte {
		conn := c.connections[i]
		at := i*len(requests)/len(c.connections) + conn.sent
		conn.sent++
		return requests[at%len(requests)]
	}
}

// run sends on all connections what next gives for each, for as long as go-on
// functions, one a connection, say so.
func (c *Client) run(next func(i int) []byte, pace func(i int, start time.Time) (goOn func() bool)) *Result {
	parts := make([]Result, len(c.connections))
	var wait sync.WaitGroup
	start := time.Now()
	for i, conn := range c.connections {
		goOn := pace(i, start)
		wait.Go(func() { parts[i] = conn.run(func() []byte { return next(i) }, start, goOn) })
	}
	wait.Wait()
	return join(parts, time.Since(start))
}

func (c *connection) run(next func() []byte, start time.Time, goOn func() bool) Result {
	r := Result{Statuses: make(map[int]int), FirstOK: -1}
	for goOn() {
		request := next()
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
		all.take(&parts[i])
	}
	slices.Sort(all.Latencies)
	return all
}

// Join sums up what was sent at different times: spells of one round. FirstOK is
// the shortest that any of them took.
func Join(spells []*Result) *Result {
	all := &Result{Statuses: make(map[int]int), FirstOK: -1}
	for _, spell := range spells {
		all.take(spell)
		all.Elapsed += spell.Elapsed
	}
	slices.Sort(all.Latencies)
	return all
}

// take adds what another one counted.
func (r *Result) take(part *Result) {
	r.Latencies = append(r.Latencies, part.Latencies...)
	for status, n := range part.Statuses {
		r.Statuses[status] += n
	}
	r.Failed += part.Failed
	if r.Err == nil {
		r.Err = part.Err
	}
	if part.FirstOK >= 0 && (r.FirstOK < 0 || part.FirstOK < r.FirstOK) {
		r.FirstOK = part.FirstOK
	}
}
