// Package issuer fetches and keeps what one token issuer publishes: its metadata
// and its key set.
//
// An [Engine] discovers the metadata (OpenID Connect Discovery 1.0, then
// RFC 8414), fetches the key set (RFC 7517) from a URL or reads it from a
// file, follows rotation, uses the last good keys during an outage, and keeps
// those in storage, so that it can start while the issuer is down. One engine is
// meant to be shared by everything that trusts the same issuer and to outlive a
// change of configuration: see [Config.ID] and [Engine.Attach].
//
// # What a caller meets
//
// [Engine.JWKS] and [Key.Trusted] are for every request: no lock, no
// allocation, no waiting. [Engine.Await] is for a request whose key is not
// there: all such requests wait together for one fetch. However many keys are
// asked for that do not exist, the issuer sees three fetches in a row and then one
// in five seconds.
//
// # What never lives here
//
// Tokens, claims and signatures. This package decides which keys are an
// issuer's; what was signed with them is for its callers.
package issuer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Host is what a running configuration gives an engine. Both may be nil.
type Host struct {
	// Storage keeps the last good keys over a restart; nil: they last as long as the
	// engine. Every certmagic.Storage is one.
	Storage storage.Storage
	// Observe is called with what happens, one event at a time and in order. It must
	// return soon and must not call Close or detach.
	Observe func(Event)
}

// Options are for tests.
type Options struct {
	// Now is the clock for ages and time stamps; nil: time.Now.
	Now func() time.Time
	// Client does the fetches; nil: one of our own that honors the proxy
	// environment variables and Config.CA. Cookies, redirects and the time-out of
	// 5 seconds are ours in any case.
	Client *http.Client
}

// Engine keeps one issuer's metadata and keys. Its methods are safe for
// concurrent use.
type Engine struct {
	cfg    Config
	now    func() time.Time
	client *http.Client
	idle   func() // closes idle connections of our own

	jwks    atomic.Pointer[JWKS]
	trust   *trust
	waiters atomic.Int32 // callers of Await and Metadata that wait

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // tells the background to look at what changed

	leases storage.Leases[func(Event)] // of the running configurations, with their observers
	events storage.Mailbox[Event]

	mu      sync.Mutex // guards all below; never held while waiting
	closed  bool
	running bool
	warned  map[string]string // the last warning of each topic

	fetching *fetch // the one fetch of keys under way
	begun    uint64 // fetches of keys so far
	answered uint64 // the number of the last one that brought a set
	demand   *rate.Limiter
	flaps    flaps

	// keys is what is known of the keys beside the set itself.
	keys struct {
		fetchedAt  time.Time
		next       time.Time // of the background refresh
		failures   int       // of background fetches, in a row
		failedAt   time.Time
		retryAfter time.Duration // what the issuer asked for when it failed
		failure    error         // of the last fetch; nil once one succeeded
		restored   bool          // the set is from storage
		ignored    []string
	}
	// metadata is what is known of the issuer's metadata.
	metadata struct {
		known    *Metadata
		at       time.Time
		failure  error // of the last fetch; nil once one succeeded
		failedAt time.Time
		fetching *fetch // the one under way
	}
	// file tells whether the key set file is still the one that was read.
	file struct {
		good  os.FileInfo // of the content that serves
		tried os.FileInfo // of the last content read, good or not
	}
	// record tells whether the record in storage is the current one.
	record struct {
		changed   bool      // keys or metadata differ from the record
		fetchedAt time.Time // as the record says
		retryAt   time.Time // after a failure
	}
	restoring chan struct{} // closed when the record has been read; nil: it is not being read
}

var errClosed = errors.New("the issuer's engine is closed")

// New makes an engine. It starts nothing: no goroutine, no network, no storage.
// It reads the CA file, and an unusable one is an error that names it.
func New(cfg Config, opts Options) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring the issuer: %w", err)
	}
	cfg = cfg.withDefaults()
	e := &Engine{
		cfg: cfg, now: opts.Now, idle: func() {},
		wake: make(chan struct{}, 1), warned: map[string]string{},
		demand: rate.NewLimiter(rate.Every(holdOff), demandBurst),
	}
	if e.now == nil {
		e.now = time.Now
	}
	client := opts.Client
	if client == nil {
		own, err := NewTransport(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", cfg.Issuer, err)
		}
		client, e.idle = &http.Client{Transport: own}, own.CloseIdleConnections
	}
	bounded := *client // no cookies, a time-out, few redirects
	bounded.Jar = nil
	if bounded.Timeout <= 0 || bounded.Timeout > fetchLimit {
		bounded.Timeout = fetchLimit
	}
	bounded.CheckRedirect = cfg.checkRedirect
	e.client = &bounded
	if cfg.JWKSFile != "" {
		e.demand.SetLimit(rate.Every(fileHoldOff)) // no issuer is asked
	}
	e.trust = &trust{now: e.now}
	e.trust.until.Store(math.MinInt64)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

// Config is what the engine was made of, with defaults applied.
func (e *Engine) Config() Config { return e.cfg }

// Attach tells the engine that a configuration started: from now on the engine
// uses its storage and its observer. detach ends that, and the configuration
// attached before is used again; it may be called repeatedly. It waits, a second at
// most, for calls of the storage that are under way, because the storage may be gone
// afterwards. The first Attach starts the background work.
func (e *Engine) Attach(h Host) (detach func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return func() {}
	}
	lease := e.leases.Attach(e.ctx, storage.NewClient(h.Storage, 0), h.Observe)
	e.restore(lease)
	if !e.running {
		e.running = true
		e.work.Go(e.background)
	}
	e.poke()
	return lease.Detach
}

// Close ends every goroutine of the engine and waits for them. From then on
// there are no keys, and none is trusted. It may be called repeatedly.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.trust.until.Store(math.MinInt64)
	e.mu.Unlock()
	e.cancel()
	e.work.Wait()
	e.idle()
	return nil
}

// Client is what the issuer's other endpoints may be asked with, as this engine asks
// for keys: what it trusts, how long it waits, where it follows a redirect.
func (e *Engine) Client() *http.Client { return e.client }

// JWKS returns the keys trusted now: nil if there never were any, if they are
// older than max_stale, or after Close. It takes no lock and allocates nothing.
func (e *Engine) JWKS() *JWKS {
	s := e.jwks.Load()
	if s == nil || !e.trust.fresh() {
		return nil
	}
	return s
}
