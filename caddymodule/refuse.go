package caddymodule

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
)

// refuser answers requests that are not let in.
type refuser struct {
	challenge  auth.Challenge
	schemes    schemes
	challenges func() map[challengeKey][]string // made once
	rule       string                           // what the rules are called
	json       bool
	grpc       bool // answers gRPC calls in gRPC's own way
	logger     *zap.Logger
	meters     *meters
	senders    *senders
}

// challengeKey is a refusal's reason, and whether the token came with the scheme DPoP.
type challengeKey struct {
	reason string
	dpop   bool
}

func newRefuser(challenge auth.Challenge, rule string, schemes schemes, a *authenticator, json, grpc bool, logger *zap.Logger) *refuser {
	f := &refuser{challenge: challenge, rule: rule, schemes: schemes, json: json, grpc: grpc, logger: logger, meters: a.meters, senders: a.senders}
	f.challenges = sync.OnceValue(func() map[challengeKey][]string {
		made := make(map[challengeKey][]string)
		for _, refusal := range append(auth.Refusals(), auth.SenderRefusals()...) {
			for _, dpop := range []bool{false, true} {
				made[challengeKey{refusal.Reason, dpop}] = f.words(refusal, dpop)
			}
		}
		return made
	})
	return f
}

// challengesOf gives the header's values for a refusal, none where there is no
// challenge. What the route asks for is the route's to say, so a challenge that tells it
// is made anew.
func (f *refuser) challengesOf(refusal *auth.Refusal, dpop bool) []string {
	if made, ok := f.challenges()[challengeKey{refusal.Reason, dpop}]; ok && !refusal.HasDemands() {
		return slices.Clone(made) // handlers around may change it
	}
	return f.words(refusal, dpop)
}

// words is a challenge of each scheme that would do. That of the scheme which was used
// says what was wrong (RFC 9449, section 7.2).
func (f *refuser) words(refusal *auth.Refusal, dpop bool) (list []string) {
	used, other := auth.Bearer, auth.DPoP
	both := f.schemes.bearer && f.schemes.dpop && (f.schemes.announced || refusal.Reason == auth.ErrBound.Reason)
	if f.schemes.dpop && (dpop || !f.schemes.bearer) {
		used, other, both = other, used, f.schemes.bearer
	}
	if words := f.challenge.Header(used, refusal); words != "" {
		list = append(list, words)
	}
	if both && refusal.Status == http.StatusUnauthorized {
		list = append(list, f.challenge.Header(other, &auth.Refusal{Status: refusal.Status}))
	}
	return list
}

// setNonce gives the client the nonce for its next proof. What holds one must not be
// used again out of a cache (RFC 9449, section 8.2).
func setNonce(header http.Header, nonce string) {
	header.Set("DPoP-Nonce", nonce)
	header.Set("Cache-Control", "no-store")
}

// refuse answers a refusal: gRPC calls in gRPC's own way, an outage and, where
// it is asked for, all others with a JSON body; the rest is handed to Caddy, so
// that handle_errors can shape it.
func (f *refuser) refuse(w http.ResponseWriter, r *http.Request, verdict auth.Verdict, dpop bool) error {
	refusal := verdict.Refusal
	logRefusal(f.logger, r, f.rule, verdict)
	f.meters.outcome(r, verdict.Issuer, nil, refusal)
	admitAnonymous(r) // so that handle_errors can ask who it was
	repl := replacerOf(r)
	repl.Set(reasonPlaceholder, refusal.Reason)
	repl.Set(rulePlaceholder, f.rule)
	header := w.Header() // written as Set would have to spell the names each time, 0.1 µs
	header["Cache-Control"] = []string{"no-store"}
	if challenges := f.challengesOf(refusal, dpop); len(challenges) > 0 {
		header["Www-Authenticate"] = challenges
	}
	if f.senders.nonces && f.schemes.dpop && refusal.Status == http.StatusUnauthorized {
		setNonce(header, f.senders.Nonce())
	}
	if refusal.RetryAfter > 0 {
		header.Set("Retry-After", retryAfter(refusal.RetryAfter))
	}
	if f.grpc && respond.IsGRPC(r) {
		return respond.GRPC(w, r, refusal)
	}
	if f.grpc && respond.IsGRPCWeb(r) {
		respond.SetGRPCStatus(header, "", refusal)
	}
	if f.json {
		return respond.JSON(w, refusal.Status, refusal.Message, "")
	}
	if refusal.Status >= http.StatusInternalServerError {
		// Caddy would log every single one of these as an error.
		w.WriteHeader(refusal.Status)
		return nil
	}
	return handlerError(refusal)
}

// handlerError hands a refusal to Caddy. Caddy adds the id, and leaves the trace
// alone: it would walk the stack for it, 1 µs for each refusal, and find this very
// place every time.
func handlerError(refusal *auth.Refusal) error {
	const trace = "caddymodule.handlerError (refuse.go)"
	return caddyhttp.Error(refusal.Status, caddyhttp.HandlerError{Err: refusal, StatusCode: refusal.Status, Trace: trace})
}

// reasonPlaceholder is why a request was refused, in the words of the metric's
// label result.
const reasonPlaceholder = "http.auth.reason"

var errOtherScheme = errors.New("the Authorization header has another scheme than Bearer, such as Basic, or a token without a scheme")

// logRefusal is the one line, at DEBUG, about a refused request. It names a
// caller whose token is genuine, and what helps one who is not registered.
func logRefusal(logger *zap.Logger, r *http.Request, rule string, verdict auth.Verdict) {
	c := logger.Check(zapcore.DebugLevel, "request refused")
	if c == nil {
		return
	}
	refusal, cause := verdict.Refusal, verdict.Refusal.Cause
	if refusal == auth.ErrNoToken && slices.ContainsFunc(r.Header["Authorization"], auth.IsOtherScheme) {
		cause = errOtherScheme
	}
	fields := []zap.Field{
		zap.String("reason", refusal.Reason),
		zap.Int("status", refusal.Status),
		zap.String("issuer", verdict.Issuer),
		zap.NamedError("cause", cause),
	}
	if rule != "" {
		fields = append(fields, zap.String("rule", rule))
	}
	if verdict.Token != nil {
		fields = append(fields, zap.String("subject", verdict.Token.Subject()), zap.String("client_id", verdict.Token.ClientID()))
	}
	if refusal == auth.ErrAccountUnknown {
		register := "caddy gatehouse service-account create " + shellWord(verdict.Token.Subject()) + " --issuer " + shellWord(verdict.Issuer)
		fields = append(fields, zap.String("remedy", register)) // which an operator can paste
	}
	c.Write(fields...)
}

// shellWord quotes what a token says, so that pasting it into a shell runs
// nothing else.
func shellWord(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// retryAfter is a delay in whole seconds, rounded up (RFC 9110, section 10.2.3).
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
