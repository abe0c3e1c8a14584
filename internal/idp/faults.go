package idp

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Endpoint names what a fault applies to.
type Endpoint int

// The endpoints of an Issuer.
const (
	Metadata Endpoint = iota // both well-known addresses
	JWKS
	Token
	LoginPage
	Introspection
)

// Answer replaces what an endpoint would say. Zero fields keep its own.
type Answer struct {
	Status      int         // HTTP status
	Header      http.Header // set over the endpoint's own
	Body        []byte      // nil: the endpoint's own; empty: no body
	ContentType string
}

// Hold keeps the requests of one endpoint waiting.
type Hold struct {
	arrived chan struct{}
	release chan struct{}
	once    sync.Once
}

// Arrived has one value for each request that came to wait, up to 1024 unread.
func (h *Hold) Arrived() <-chan struct{} { return h.arrived }

// Release lets all of them go on. A second call does nothing.
func (h *Hold) Release() { h.once.Do(func() { close(h.release) }) }

// wait returns early, with false, when the caller or the issuer gave up.
func (h *Hold) wait(r *http.Request) bool {
	select {
	case h.arrived <- struct{}{}:
	default: // nobody counts that far
	}
	select {
	case <-h.release:
		return true
	case <-r.Context().Done():
		return false
	}
}

type faults struct {
	mu         sync.Mutex
	down       bool
	delay      time.Duration
	bearer     string
	metaIssuer *string
	metaEdit   func(map[string]any)
	cache      string
	noOpenID   bool
	noOAuth    bool
	answers    map[Endpoint]Answer
	holds      map[Endpoint]*Hold
}

func newFaults() *faults {
	return &faults{
		answers: make(map[Endpoint]Answer),
		holds:   make(map[Endpoint]*Hold),
	}
}

func (i *Issuer) fault(change func(f *faults)) {
	i.faults.mu.Lock()
	defer i.faults.mu.Unlock()
	change(i.faults)
}

// SetDown answers everything with 503 and no body. For a refused connection, see
// Stop.
func (i *Issuer) SetDown(down bool) { i.fault(func(f *faults) { f.down = down }) }

// SetDelay makes every answer wait. Zero ends it.
func (i *Issuer) SetDelay(d time.Duration) { i.fault(func(f *faults) { f.delay = d }) }

// Hang makes requests to an endpoint wait until the Hold is released. Those that
// come after that are answered at once.
func (i *Issuer) Hang(e Endpoint) *Hold {
	h := &Hold{arrived: make(chan struct{}, 1024), release: make(chan struct{})}
	i.fault(func(f *faults) { f.holds[e] = h })
	return h
}

// SetBody answers an endpoint with these bytes; nil ends it.
func (i *Issuer) SetBody(e Endpoint, body []byte) { i.SetAnswer(e, Answer{Body: body}) }

// SetAnswer replaces what an endpoint says: another status, a redirect, a body.
// The zero Answer ends it.
func (i *Issuer) SetAnswer(e Endpoint, a Answer) {
	i.fault(func(f *faults) { f.answers[e] = a })
}

// SetMetadataIssuer has the metadata name another issuer. "" ends it.
func (i *Issuer) SetMetadataIssuer(s string) {
	i.fault(func(f *faults) {
		f.metaIssuer = nil
		if s != "" {
			f.metaIssuer = &s
		}
	})
}

// EditMetadata has edit change the metadata as it is served. nil ends it.
func (i *Issuer) EditMetadata(edit func(metadata map[string]any)) {
	i.fault(func(f *faults) { f.metaEdit = edit })
}

// SetCacheControl sends this header with the key set. "" sends none.
func (i *Issuer) SetCacheControl(s string) { i.fault(func(f *faults) { f.cache = s }) }

// SetWellKnown says which metadata exist: OpenID Connect Discovery 1.0, RFC 8414.
// By default both do; one that does not answers 404.
func (i *Issuer) SetWellKnown(openID, oauth bool) {
	i.fault(func(f *faults) { f.noOpenID, f.noOAuth = !openID, !oauth })
}

// RequireBearer asks for this token at metadata and key set, as a Kubernetes API
// server does; others get 401. "" ends it.
func (i *Issuer) RequireBearer(token string) { i.fault(func(f *faults) { f.bearer = token }) }

type counters struct {
	metadata, jwks, token, login, introspection atomic.Int64
}

// DiscoveryFetches counts the requests for metadata, failed and missing included.
func (i *Issuer) DiscoveryFetches() int { return int(i.counts.metadata.Load()) }

// JWKSFetches counts the requests for the key set, failed ones included.
func (i *Issuer) JWKSFetches() int { return int(i.counts.jwks.Load()) }

// TokenRequests counts the requests to the token endpoint.
func (i *Issuer) TokenRequests() int { return int(i.counts.token.Load()) }

// LoginRequests counts the requests for the login page, forms sent included.
func (i *Issuer) LoginRequests() int { return int(i.counts.login.Load()) }

// Introspections counts the questions about tokens, failed ones included.
func (i *Issuer) Introspections() int { return int(i.counts.introspection.Load()) }

func (c *counters) count(e Endpoint) {
	switch e {
	case Metadata:
		c.metadata.Add(1)
	case JWKS:
		c.jwks.Add(1)
	case Token:
		c.token.Add(1)
	case LoginPage:
		c.login.Add(1)
	case Introspection:
		c.introspection.Add(1)
	}
}
