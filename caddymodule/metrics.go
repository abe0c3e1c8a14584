package caddymodule

import (
	"github.com/gatehouse-proxy/gatehouse/caddymodule/engines"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
)

var (
	tokensTotal = metrics.Counter("tokens_total",
		"Requests with a token, or refused for want of one, by the configured issuer that the token claims and what became of it: let_in or the reason of the refusal.",
		"issuer", "result")
	tokenVerifySeconds = metrics.Histogram("token_verify_duration_seconds",
		"Time to verify a good token that was not remembered, with any wait for the issuer's keys and for its answer.",
		[]float64{.000025, .00005, .0001, .00025, .0005, .001, .0025, .01, .05, .25, 1, 5}, "issuer")
	tokenCacheTotal = metrics.Counter("token_cache_total",
		"Tokens looked up in the cache of those verified before: hit or miss.", "result")
	tokenCacheBytes = metrics.Gauge("token_cache_bytes",
		"Memory that the verified tokens take which are kept, in bytes; token_cache is its bound.")
)

// Values of the label result.
const (
	resultLetIn = metrics.LetIn
	resultHit   = "hit"
	resultMiss  = "miss"
)

// show shows how much memory the cache takes, and how old the issuers' keys are.
func (v *sharedVerifier) show(show metrics.Show) {
	_, bytes := v.Cached()
	show(tokenCacheBytes, float64(bytes))
	engines.ShowAge(v.engines, show)
}
