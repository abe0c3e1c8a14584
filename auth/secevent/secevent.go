// Package secevent reads and judges what an issuer says about those who hold its
// tokens: that a session has ended, that an account was disabled, that somebody must
// log in anew. It knows logout tokens (OpenID Connect Back-Channel Logout 1.0),
// security event tokens (RFC 8417) as the Shared Signals Framework, CAEP and RISC
// make them, pushed (RFC 8935) or polled (RFC 8936), and global token revocation
// (draft-parecki-oauth-global-token-revocation).
//
// All that comes of an event is a list of revocations of tokens of one issuer, the
// one that signed it. No event lets anybody in, and none is about another issuer's
// tokens.
package secevent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
)

// Config says whose events are believed and what they must be like.
type Config struct {
	// Issuer is the identifier of the issuer of the tokens that are revoked. Required.
	Issuer string
	// Name is what people call it. Required.
	Name string
	// Transmitter is the `iss` of its events, if that is another than Issuer: then it
	// may say about Issuer's subjects what Issuer may.
	Transmitter string
	// Keys are the keys that sign the events. Required.
	Keys issuer.Keys
	// Algorithms that are accepted; empty: all of [jose.Algorithms].
	Algorithms []string
	// Leeway is how far the sender's clock may be off.
	Leeway time.Duration
	// Lifetime is how long the issuer's tokens are accepted at most. An event that is
	// older can have no effect. Zero: [revocation.DefaultLifetime].
	Lifetime time.Duration
	// Audiences are what the `aud` of security event tokens must hold one of. Empty:
	// none is accepted.
	Audiences []string
	// Clients are what the `aud` of logout tokens must hold one of. Empty: none is
	// accepted.
	Clients []string
	// GlobalAudiences are what the `aud` of a request for global token revocation must
	// hold one of. Empty: none is accepted.
	GlobalAudiences []string
	// MatchEmail takes a subject that is an e-mail address for the subject of tokens:
	// the operator says that the claim which names their subject holds the address.
	MatchEmail bool
	// Untyped takes security event tokens whose header does not say that they are some
	// (`typ` JWT, or none), if they have no `exp`, which other tokens have.
	Untyped bool
	// EndSubject has an event about a session whose subject is known revoke all of the
	// subject's tokens: those of issuers without the claim `sid` cannot be
	// distinguished by session.
	EndSubject bool
	// Pace spreads the work for events over time, of all issuers whose sources share
	// it: to verify one and to answer it takes a turn each. An event that would wait for
	// its turn longer than 5 seconds is to be sent again. Nil: they do not wait.
	Pace *rate.Limiter
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Source judges the events of one issuer. It keeps nothing, and is safe for
// concurrent use.
type Source struct {
	config      Config
	transmitter string
}

// NewSource makes the judge of one issuer's events. Nothing is fetched.
func NewSource(c Config) (*Source, error) {
	switch {
	case c.Issuer == "":
		return nil, errors.New("no issuer is named")
	case c.Keys == nil:
		return nil, errors.New("no keys are given")
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = jose.Algorithms
	}
	if c.Lifetime <= 0 {
		c.Lifetime = revocation.DefaultLifetime
	}
	if c.Pace == nil {
		c.Pace = rate.NewLimiter(rate.Inf, 0)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Source{config: c, transmitter: c.Transmitter}
	if s.transmitter == "" {
		s.transmitter = c.Issuer
	}
	return s, nil
}

// turnLimit is how long an event waits for its turn. It bounds how many do.
const turnLimit = 5 * time.Second

// awaitTurn waits for the turn of an event. It fails at once if that takes too long.
func (s *Source) awaitTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	if err := s.config.Pace.Wait(ctx); err != nil {
		return fmt.Errorf("too many events came at once: %w", err)
	}
	return nil
}

// Event is what a token of the issuer turned out to say.
type Event struct {
	// Kind is what happened. Of several events in one token it is the first that
	// revokes something.
	Kind Kind
	// ID is the token's `jti`.
	ID string
	// IssuedAt is when the issuer said so. Tokens issued until then are meant.
	IssuedAt time.Time
	// Subjects are whose tokens are revoked; none: the event has no effect here.
	Subjects []Subject
}

// Subject says which of the issuer's tokens are meant.
type Subject struct {
	Target revocation.Target
	Name   string
}

// Kind is what an event says that happened: a closed set, see [Kinds].
type Kind string

// The kinds of events.
const (
	BackChannelLogout Kind = "backchannel_logout"
	GlobalRevocation  Kind = "global_revocation"
	SessionRevoked    Kind = "session_revoked"
	CredentialChange  Kind = "credential_change"
	TokenClaimsChange Kind = "token_claims_change"
	AccountDisabled   Kind = "account_disabled"
	AccountPurged     Kind = "account_purged"
	Verification      Kind = "verification"
	StreamUpdated     Kind = "stream_updated"
	Other             Kind = "other"  // a type that means nothing here
	Unread            Kind = "unread" // a token that was refused before its type was known
)

// Kinds are all kinds of events.
var Kinds = []Kind{
	BackChannelLogout, GlobalRevocation, SessionRevoked, CredentialChange, TokenClaimsChange,
	AccountDisabled, AccountPurged, Verification, StreamUpdated, Other, Unread,
}

// Code is why an event is refused, by the names of RFC 8935, section 2.4.
type Code string

// The codes of refusals.
const (
	InvalidRequest       Code = "invalid_request"
	InvalidKey           Code = "invalid_key"
	InvalidIssuer        Code = "invalid_issuer"
	InvalidAudience      Code = "invalid_audience"
	AuthenticationFailed Code = "authentication_failed"
)

// Refusal is an event that is not believed, or cannot be understood. Nothing comes
// of it. Its words quote nothing of the event and are fit for the sender.
type Refusal struct {
	Code        Code   `json:"err"` // RFC 8935, section 2.3
	Description string `json:"description"`
	Kind        Kind   `json:"-"` // as far as it was known
	// Signed: the issuer's key signed it, so that its sender is whom it says.
	Signed bool `json:"-"`

	unmatched bool // the subject is of a format that means nobody here
}

// Error gives the description.
func (r *Refusal) Error() string { return r.Description }

func refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Description: fmt.Sprintf(format, args...), Kind: Unread}
}

// ErrKeys: the issuer's keys cannot be fetched now, so that nobody can say whose the
// event is. It is worth sending again.
var ErrKeys = errors.New("the issuer's keys cannot be fetched now")

// maxAhead is how far a revocation may lie ahead.
const maxAhead = time.Minute

// drafts are the revocations that an event asks for: all of the one issuer.
func (s *Source) drafts(e *Event) []revocation.Draft {
	before, by := e.IssuedAt, "issuer "+s.config.Name
	if len(by) > revocation.MaxText {
		by = "issuer"
	}
	if latest := s.config.Now().Add(maxAhead); before.After(latest) {
		before = latest
	}
	drafts := make([]revocation.Draft, 0, len(e.Subjects))
	for _, subject := range e.Subjects {
		drafts = append(drafts, revocation.Draft{
			Issuer: s.config.Issuer, Target: subject.Target, Name: subject.Name, IssuedBefore: before,
			Lifetime: s.config.Lifetime + s.config.Leeway, By: by, Reason: string(e.Kind),
		})
	}
	return drafts
}

// add adds a subject unless it is there.
func (e *Event) add(s Subject) {
	if !slices.Contains(e.Subjects, s) {
		e.Subjects = append(e.Subjects, s)
	}
}
