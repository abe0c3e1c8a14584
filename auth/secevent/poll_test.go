package secevent

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

// stream is a transmitter that keeps events until they are acknowledged, with a token
// endpoint beside it.
type stream struct {
	*httptest.Server
	mu      sync.Mutex
	waiting map[string]string
	refused map[string]*Refusal
	status  int    // of the next answer, if it is not 0
	token   string // that is asked for
	issued  int
	polls   int
}

func newStream(t *testing.T) *stream {
	s := &stream{waiting: map[string]string{}, refused: map[string]*Refusal{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/token" {
		s.issued++
		s.token = strings.Repeat("t", s.issued)
		_ = json.NewEncoder(w).Encode(object{"access_token": s.token, "token_type": "Bearer", "expires_in": 3600})
		return
	}
	s.polls++
	var request struct {
		MaxEvents         int
		ReturnImmediately bool
		Ack               []string
		SetErrs           map[string]*Refusal
	}
	status := s.status
	if s.status = 0; s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token {
		status = http.StatusUnauthorized
	}
	if status != 0 || json.NewDecoder(r.Body).Decode(&request) != nil || r.Method != http.MethodPost {
		w.WriteHeader(max(status, http.StatusBadRequest))
		return
	}
	for _, id := range request.Ack {
		delete(s.waiting, id)
	}
	for id, why := range request.SetErrs {
		delete(s.waiting, id)
		s.refused[id] = why
	}
	sets := map[string]string{}
	for id, token := range s.waiting {
		if len(sets) == 2 || len(sets) == request.MaxEvents {
			break
		}
		sets[id] = token
	}
	_ = json.NewEncoder(w).Encode(object{"sets": sets, "moreAvailable": len(sets) < len(s.waiting)})
}

func (s *stream) add(id, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[id] = token
}

func (s *stream) left() (waiting int, refused map[string]*Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting), s.refused
}

func run(t *testing.T, p *Poller) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { p.Run(ctx) })
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); work.Wait() }) }
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

// What is durable is acknowledged, what is refused is reported, and what storage did not
// take stays with the sender.
func TestPoll(t *testing.T) {
	key, e, sender := newSigner(t, "key"), faultstorage.New(faultstorage.Faults{}), newStream(t)
	r, revoked, _ := receiver(t, config(publish(t, key)), e)
	awaitLoaded(t, revoked, r.memory)
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		sender.add(id, key.token(typSET, set(revokedSession, object{}), object{"jti": id, "sub_id": object{"format": "opaque", "id": "user-" + id}}))
	}
	sender.add("forged", newSigner(t, "key").token(typSET, set(revokedSession, object{})))
	sender.add("text", "text")
	e.SetDown(true)
	p := NewPoller(PollConfig{URL: sender.URL, Every: 5 * time.Millisecond, Client: sender.Client()}, r, nil)
	stop := run(t, p)
	eventually(t, "the failure is shown", func() bool { _, failure := p.LastPoll(); return strings.Contains(failure, "durable") })
	if waiting, _ := sender.left(); waiting < 5 {
		t.Fatalf("%d are left, of which none is durable", waiting)
	}
	e.SetDown(false)
	eventually(t, "all are taken", func() bool { waiting, _ := sender.left(); return waiting == 0 })
	eventually(t, "a good answer is shown", func() bool { at, failure := p.LastPoll(); return at.Equal(now) && failure == "" })
	stop()
	if _, refused := sender.left(); len(refused) != 2 || refused["forged"].Code != InvalidKey || refused["text"].Code != InvalidRequest {
		t.Errorf("refused are %v", refused)
	}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		if revoked.Find(revocation.Key{Issuer: ours, Target: revocation.Subject, Name: "user-" + id}) == nil {
			t.Errorf("%s is not revoked", id)
		}
	}
}

// A token that is no longer good is replaced, an error is survived, and a redirect is
// not followed: it would take the token elsewhere.
func TestPollWithClientCredentials(t *testing.T) {
	key, sender := newSigner(t, "key"), newStream(t)
	r, _, _ := receiver(t, config(publish(t, key)), faultstorage.New(faultstorage.Faults{}))
	credentials := &clientcredentials.Config{ClientID: "gateway", ClientSecret: "secret", TokenURL: sender.URL + "/token"}
	p := NewPoller(PollConfig{URL: sender.URL, Every: time.Millisecond, ClientCredentials: credentials, Client: sender.Client()}, r, nil)
	run(t, p)
	for _, status := range []int{http.StatusInternalServerError, http.StatusUnauthorized, http.StatusFound} {
		sender.mu.Lock()
		sender.status = status
		sender.mu.Unlock()
		sender.add("x", key.token(typSET, set(revokedSession, object{})))
		eventually(t, "it is fetched", func() bool { waiting, _ := sender.left(); return waiting == 0 })
	}
	sender.mu.Lock()
	defer sender.mu.Unlock()
	if sender.issued < 2 {
		t.Errorf("%d tokens were asked for", sender.issued)
	}
}

// A sender that gives the same event again and again is asked a bounded number of
// times.
func TestPollDoesNotSpin(t *testing.T) {
	key, polls := newSigner(t, "key"), 0
	token := key.token(typSET, set(revokedSession, object{}))
	sender := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		polls++
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(object{"sets": object{"x": token}, "moreAvailable": true})
	}))
	defer sender.Close()
	r, _, _ := receiver(t, config(publish(t, key)), faultstorage.New(faultstorage.Faults{}))
	p := NewPoller(PollConfig{URL: sender.URL, Client: sender.Client()}, r, nil)
	if err := p.fetchAll(t.Context()); err != nil || polls != 2 {
		t.Errorf("asked %d times: %v", polls, err)
	}
}
