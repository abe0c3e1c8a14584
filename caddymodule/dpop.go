package caddymodule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// DPoP says what is asked of the proofs that come with tokens which are bound to a
// key (RFC 9449).
type DPoP struct {
	// The signature algorithms of proofs that are accepted, of RS256, RS384, RS512,
	// PS256, PS384, PS512, ES256, ES384, ES512, EdDSA and Ed25519. Default: all of
	// these.
	Algorithms []string `json:"algorithms,omitempty"`

	// How long ago a proof may have been made, from 1s to 1h. How far the client's
	// clock may be ahead is the issuer's leeway. Default: 60s.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// `node` asks for a nonce of this node in each proof, so that none can be used
	// again at another node, nor after a restart. `off` asks for none: a proof can
	// then be used once at each node. Default: off.
	Nonce string `json:"nonce,omitempty"`

	// How many proofs are remembered, so that none is taken twice, each for as long
	// as it would be valid. While there is no more room, requests with new proofs are
	// answered with 503. A proof takes about 100 bytes. Default: 100000.
	ReplayMemory int `json:"replay_memory,omitempty"`
}

const (
	defaultReplayMemory = 100_000
	maxReplayMemory     = 10_000_000
	maxProofAge         = time.Hour
	nonceNode           = "node"
)

var nonceModes = parse.Choice{parse.Off, nonceNode}

// options are those of the block dpop. Syntax:
//
//	dpop {
//	    algorithms    <algorithm...>
//	    max_age       <duration>
//	    nonce         off|node
//	    replay_memory <number>
//	}
func (p *DPoP) parseDPoP(d *caddyfile.Dispenser) error {
	type disp = caddyfile.Dispenser
	if err := parse.NoMore(d, "dpop"); err != nil {
		return err
	}
	return parse.Block(d, parse.Options{
		"algorithms": parse.Once(func(d *disp) error {
			err := parse.AppendWords(d, &p.Algorithms)
			if err == nil {
				err = parse.AtLine(d, p.checkAlgorithms())
			}
			return err
		}),
		"max_age":       parse.Duration(&p.MaxAge, time.Second, maxProofAge),
		"nonce":         parse.OneOf(&p.Nonce, nonceModes),
		"replay_memory": parse.Number(&p.ReplayMemory, 1, maxReplayMemory),
	})
}

func (p *DPoP) checkAlgorithms() error {
	for _, name := range p.Algorithms {
		if !slices.Contains(jose.Algorithms, name) {
			return fmt.Errorf("algorithms: found %q, expected some of %s", name, strings.Join(jose.Algorithms, ", "))
		}
	}
	return nil
}

func (p *DPoP) check() error {
	if err := p.checkAlgorithms(); err != nil {
		return err
	}
	if err := nonceModes.Check("nonce", p.Nonce); err != nil {
		return err
	}
	if age := time.Duration(p.MaxAge); age != 0 && (age < time.Second || age > maxProofAge) {
		return fmt.Errorf("max_age: found %s, expected 1s to %s", age, maxProofAge)
	}
	if p.ReplayMemory < 0 || p.ReplayMemory > maxReplayMemory {
		return fmt.Errorf("replay_memory: found %d, expected 1 to %d", p.ReplayMemory, maxReplayMemory)
	}
	return nil
}

// senders checks the senders of bound tokens, as a configuration asks for it.
type senders struct {
	*bound.Checker
	config *DPoP // nil: nothing is configured
	nonces bool
	limit  int
	memory *proofMemory
	taken  bool // until it is released

	announced  atomic.Bool // something in the configuration speaks of DPoP
	neighbours atomic.Pointer[neighbours]
}

// proofMemory is what outlives a configuration: a proof that was used under one must
// not be used again under the next, whatever that says of the memory's size.
//
// The nonces end with the memory. A proof that was taken by an earlier process is not
// remembered, so its nonce must no longer be valid: the nonces' key is made anew
// with the memory, and is kept nowhere. Clients then ask once more, with a new one.
type proofMemory struct {
	replays *bound.Replays
	nonces  *bound.Nonces
}

var proofMemories = pool.New(func(*proofMemory) error { return nil })

const (
	proofMemoryKey  = "proofs" // there is one
	proofMemorySpan = 2 * time.Minute
)

// takeSenders makes what checks the senders of bound tokens; it must be released
// exactly once.
func takeSenders(config *DPoP) (*senders, error) {
	s := &senders{config: config}
	s.announced.Store(config != nil)
	if config == nil {
		config = new(DPoP)
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	s.nonces, s.limit = config.Nonce == nonceNode, config.ReplayMemory
	if s.limit == 0 {
		s.limit = defaultReplayMemory
	}
	var err error
	s.memory, err = proofMemories.Take(proofMemoryKey, func() (*proofMemory, error) {
		key := make([]byte, 32)
		rand.Read(key)
		nonces, err := bound.NewNonces(key)
		return &proofMemory{bound.NewReplays(s.limit, proofMemorySpan), nonces}, err
	})
	if err != nil {
		return nil, err
	}
	s.taken = true
	checked := bound.Config{Algorithms: config.Algorithms, MaxAge: time.Duration(config.MaxAge), Replays: s.memory.replays}
	if s.nonces {
		checked.Nonces = s.memory.nonces
	}
	if s.Checker, err = bound.NewChecker(checked); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// state is what operators are shown; nil where the configuration does not speak of DPoP.
func (s *senders) state() *api.ProofState {
	if !s.announced.Load() {
		return nil
	}
	state := &api.ProofState{Nonce: parse.Off, Remembered: s.memory.replays.Len(), ReplayMemory: int(s.memory.replays.Limit.Load())}
	if s.nonces {
		state.Nonce = nonceNode
	}
	if n := s.neighbours.Load(); n != nil {
		state.OtherNodes = int(n.others.Load())
	}
	return state
}

// start makes the memory as large as this configuration says.
func (s *senders) start() { s.memory.replays.Limit.Store(int64(s.limit)) }

// release gives the memory back, if it was taken.
func (s *senders) release() {
	if s != nil && s.taken {
		s.taken = false
		_ = proofMemories.Release(proofMemoryKey)
	}
}

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
		case known:
			var left nodeRecord
			if json.Unmarshal(text, &left) != nil || time.Since(left.At) > nodesForget { // its node is gone
				_ = n.client.Delete(ctx, key)
			}
		}
	}
	n.seen = read
	if n.others.Swap(others) == 0 && others > 0 {
		n.found(int(others))
	}
}
