package caddymodule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// neighbours finds out whether other nodes use the same storage, where an operator has
// to know it: each node writes a record of its own now and then, and one that somebody
// else keeps changing is another node's. No clock is compared with another, and what a
// process left behind that ended is no neighbour.
type neighbours struct {
	client *storage.Client
	every  time.Duration
	found  func(others int) // called when there are others, and were none before
	seen   map[string]string
	others atomic.Int64
}

const (
	nodesFolder = "gatehouse/nodes"
	nodesEvery  = 2 * time.Minute
	nodesForget = 24 * time.Hour
	maxNodes    = 100 // that are looked at
)

// thisNode names this process's record.
var thisNode = sync.OnceValue(func() string { return nodesFolder + "/" + strings.ToLower(rand.Text()) + ".json" })

// nodeRecord is what a node writes.
type nodeRecord struct {
	At time.Time `json:"at"`
}

// attach begins to look, where proofs have no nonces and the configuration speaks of
// them.
func (s *senders) attach(in storage.Storage, logger *zap.Logger) (detach func()) {
	if s.nonces || !s.announced.Load() {
		return func() {}
	}
	n := &neighbours{client: storage.NewClient(in, 0), every: nodesEvery, found: func(others int) {
		logger.Warn("several nodes share this storage, and DPoP proofs have no nonces: one that is intercepted can be used once at each node; write dpop { nonce node }",
			zap.Int("other_nodes", others))
	}}
	s.neighbours.Store(n)
	return n.begin()
}

// begin looks again and again until the end is called, which waits.
func (n *neighbours) begin() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		for {
			n.look(ctx)
			if storage.Pause(ctx, storage.Spread(n.every, 0.1)) != nil {
				return
			}
		}
	})
	return func() { cancel(); work.Wait() }
}

// look writes this node's record and reads the others'. What cannot be read or written
// is left for the next time: nothing depends on it but a warning.
func (n *neighbours) look(ctx context.Context) {
	if text, err := json.Marshal(nodeRecord{time.Now().UTC()}); err == nil {
		_ = n.client.Store(ctx, thisNode(), text)
	}
	keys, err := n.client.List(ctx, nodesFolder)
	if err != nil {
		return
	}
	read, others := make(map[string]string), int64(0)
	for _, key := range keys {
		if key == thisNode() || !strings.HasSuffix(key, ".json") || len(read) == maxNodes {
			continue
		}
		text, err := n.client.Load(ctx, key)
		if err != nil {
			continue
		}
		read[key] = string(text)
		before, known := n.seen[key]
		switch {
		case known && before != read[key]:
			others++
		case known && isLeftBehind(text):
			_ = n.client.Delete(ctx, key)
		}
	}
	n.seen = read
	if n.others.Swap(others) == 0 && others > 0 {
		n.found(int(others))
	}
}

// isLeftBehind tells whether a record was written so long ago that its node is gone.
func isLeftBehind(text []byte) bool {
	var r nodeRecord
	return json.Unmarshal(text, &r) != nil || time.Since(r.At) > nodesForget
}
