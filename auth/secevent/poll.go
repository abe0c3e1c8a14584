package secevent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// PollConfig says where an issuer's events are fetched (RFC 8936).
type PollConfig struct {
	// URL is the stream's polling endpoint. Required.
	URL string
	// Every is the time from one poll to the next while there is nothing to fetch.
	// Zero: [DefaultPollInterval].
	Every time.Duration
	// Token is the bearer token to send; empty: none, or one by ClientCredentials.
	Token string
	// ClientCredentials gets tokens by RFC 6749, section 4.4; nil: not.
	ClientCredentials *clientcredentials.Config
	// Client makes the requests. Required. Redirects are not followed.
	Client *http.Client
}

// The times and sizes of polling.
const (
	DefaultPollInterval = 10 * time.Second

	pollLimit     = 5 * time.Second // of one exchange
	pollBatch     = 100             // events that are asked for at once
	maxPollBody   = 8 << 20
	maxPollRounds = 100 // without a pause
	maxPollPause  = 5 * time.Minute
)

// Poller fetches the events of one issuer and acknowledges those that are durable, or
// refused. What is not acknowledged the sender keeps, so every node may poll, and one
// that stops loses nothing.
type Poller struct {
	config   PollConfig
	receiver *Receiver
	observe  func(error)
	tokens   oauth2.TokenSource // nil: none is sent
	acked    []string
	refused  map[string]*Refusal
	polled   atomic.Int64 // Unix seconds of the last answer that was good
	failure  atomic.Pointer[string]
}

// NewPoller makes a poller. Observe is called after each poll, with its error; it may
// be nil.
func NewPoller(config PollConfig, receiver *Receiver, observe func(error)) *Poller {
	client := *config.Client
	client.Timeout = pollLimit
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	config.Client = &client
	if config.Every <= 0 {
		config.Every = DefaultPollInterval
	}
	if observe == nil {
		observe = func(error) {}
	}
	return &Poller{config: config, receiver: receiver, observe: observe}
}

// LastPoll is when the sender last answered well, and why the last poll failed, empty
// if it did not.
func (p *Poller) LastPoll() (at time.Time, failure string) {
	if seconds := p.polled.Load(); seconds > 0 {
		at = time.Unix(seconds, 0)
	}
	if text := p.failure.Load(); text != nil {
		failure = *text
	}
	return at, failure
}

// Run polls until the context ends. It is to be called once.
func (p *Poller) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		err := p.fetchAll(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
		} else {
			failures++
		}
		p.note(err)
		timer := time.NewTimer(p.pause(failures))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (p *Poller) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	} else {
		p.polled.Store(p.receiver.source.config.Now().Unix())
	}
	p.failure.Store(&text)
	p.observe(err)
}

// pause doubles with each failure, and is spread, so that nodes do not come together.
func (p *Poller) pause(failures int) time.Duration {
	pause := p.config.Every
	for range min(failures, 16) {
		pause = min(2*pause, max(maxPollPause, p.config.Every))
	}
	return pause - rand.N(pause/10+1)
}

// fetchAll polls until the sender has nothing new, but not for ever: it may be one
// that sends what was acknowledged again and again.
func (p *Poller) fetchAll(ctx context.Context) error {
	for range maxPollRounds {
		fresh, err := p.poll(ctx)
		if err != nil || !fresh {
			return err
		}
	}
	return nil
}

// poll is one exchange. It tells whether it brought an event that was not taken
// before.
func (p *Poller) poll(ctx context.Context) (fresh bool, err error) {
	request := struct {
		MaxEvents         int                 `json:"maxEvents"`
		ReturnImmediately bool                `json:"returnImmediately"`
		Ack               []string            `json:"ack,omitempty"`
		SetErrs           map[string]*Refusal `json:"setErrs,omitempty"`
	}{pollBatch, true, p.acked, p.refused}
	body, err := json.Marshal(request)
	if err != nil {
		return false, err
	}
	answer, err := p.exchange(ctx, body)
	if err != nil {
		return false, err
	}
	p.acked, p.refused = nil, nil // the sender knows
	sets, err := setsOf(answer)
	if err != nil {
		return false, err
	}
	for _, set := range sets {
		new, err := p.take(ctx, set)
		if err != nil {
			return false, err
		}
		fresh = fresh || new
	}
	return fresh, nil
}

// take has an event judged, and notes how to answer its sender.
func (p *Poller) take(ctx context.Context, set jose.Member) (fresh bool, err error) {
	id := string(set.Name)
	if len(id) > MaxID {
		return false, errors.New("the answer holds an event whose jti is too long")
	}
	token := ""
	if set.Value.Kind() == '"' {
		text, err := jose.Unquote(set.Value)
		if err != nil {
			return false, errAnswer
		}
		token = string(text)
	}
	outcome, err := p.receiver.SET(ctx, token)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		if p.refused == nil {
			p.refused = make(map[string]*Refusal)
		}
		p.refused[id] = refusal
	case err != nil:
		return false, fmt.Errorf("an event could not be made durable, and is fetched again: %w", err)
	default:
		p.acked = append(p.acked, id)
	}
	return outcome == Revoked || outcome == NoEffect, nil
}

var errAnswer = errors.New("the answer is not the JSON of RFC 8936, section 2.3")

// setsOf reads the events of an answer, in its order.
func setsOf(answer []byte) (jose.Object, error) {
	members, err := jose.ReadObject(answer, nil)
	if err != nil {
		return nil, errAnswer
	}
	value, present := members.Get("sets")
	if !present {
		return nil, nil
	}
	found, err := jose.ReadObject(value, nil)
	if err != nil {
		return nil, errAnswer
	}
	return found, nil
}

// exchange sends a request. Its errors hold nothing that the other side sent but the
// status.
func (p *Poller) exchange(ctx context.Context, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.config.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address cannot be asked")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "gatehouse")
	if err := p.authorize(ctx, request); err != nil {
		return nil, err
	}
	response, err := p.config.Client.Do(request)
	if err != nil {
		return nil, issuer.WithoutRemoteText(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusUnauthorized {
		p.tokens = nil // another one next time
	}
	if response.StatusCode == http.StatusAccepted || response.StatusCode == http.StatusNoContent {
		return []byte("{}"), nil
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered with status %d, not 200", response.StatusCode)
	}
	if mediaType, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, errors.New("the answer is not application/json")
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxPollBody+1))
	if err != nil || len(answer) > maxPollBody {
		return nil, fmt.Errorf("the answer ended early, or is larger than %d bytes", maxPollBody)
	}
	return answer, nil
}

func (p *Poller) authorize(ctx context.Context, request *http.Request) error {
	if p.config.Token != "" {
		request.Header.Set("Authorization", "Bearer "+p.config.Token)
		return nil
	}
	if p.config.ClientCredentials == nil {
		return nil
	}
	if p.tokens == nil {
		p.tokens = p.config.ClientCredentials.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, p.config.Client))
	}
	token, err := p.tokens.Token()
	if err != nil {
		return errors.New("no token could be had from the token endpoint") // the error quotes its answer
	}
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	return nil
}
