package account_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

func TestMain(m *testing.M) {
	if os.Getenv(writerFolder) != "" {
		writeUntilKilled()
	}
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(code int) {
			for _, clean := range cleanups {
				clean()
			}
			os.Exit(code)
		}),
		// It notices within five seconds that the lock was given back.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// cleanups are done when all tests and benchmarks have ended.
var cleanups []func()

// node is one process's registry, with what it reported to its observer.
type node struct {
	*account.Registry
	mu     sync.Mutex
	events []registry.Event[account.Account]
	heard  chan struct{}
}

const refresh = 20 * time.Millisecond

// start attaches a registry to the storage and closes it with the test.
func start(t testing.TB, s storage.Storage, opts registry.Options) *node {
	t.Helper()
	n := &node{Registry: account.New(opts), heard: make(chan struct{}, 1)}
	n.attach(s)
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func (n *node) attach(s storage.Storage) (detach func()) {
	return n.Attach(registry.Host[account.Account]{Storage: s, Refresh: refresh, Observe: n.observe})
}

func (n *node) observe(e registry.Event[account.Account]) {
	n.mu.Lock()
	n.events = append(n.events, e)
	n.mu.Unlock()
	select {
	case n.heard <- struct{}{}:
	default:
	}
}

// kinds counts the events of a kind.
func (n *node) kinds(kind registry.EventKind) (found []registry.Event[account.Account]) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// loaded waits for the first load.
func (n *node) loaded(t testing.TB) *node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := n.Await(ctx); err != nil {
		t.Fatalf("the accounts were not loaded: %v", err)
	}
	return n
}

// eventually waits until something holds, generously.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

func draft(subject string) *account.Draft {
	return &account.Draft{Subject: subject, Name: "A machine", Status: account.StatusActive, Groups: []string{"deployers"}, Issuer: "acme"}
}

func disabled(subject string) *account.Draft {
	d := draft(subject)
	d.Status = account.StatusInactive
	return d
}

// create makes accounts: few one by one, many together.
func create(t testing.TB, n *node, subjects ...string) {
	t.Helper()
	var changes []account.Change
	for _, s := range subjects {
		changes = append(changes, account.Change{Op: account.Create, Draft: draft(s)})
	}
	size := 1
	if len(changes) > 5 {
		size = 1000
	}
	for batch := range slices.Chunk(changes, size) {
		results, err := n.Apply(t.Context(), batch, nil)
		if err != nil {
			t.Fatalf("creating %s and on: %v", batch[0].Draft.Subject, err)
		}
		for i, r := range results {
			if r.Err != nil {
				t.Fatalf("creating %q: %v", batch[i].Draft.Subject, r.Err)
			}
		}
	}
}

// numbered makes count subjects.
func numbered(prefix string, count int) []string {
	subjects := make([]string, count)
	for i := range subjects {
		subjects[i] = fmt.Sprintf("%s-%04d", prefix, i)
	}
	return subjects
}

func subjects(accounts []*account.Account) []string {
	list := make([]string, len(accounts))
	for i, a := range accounts {
		list[i] = a.Subject()
	}
	return list
}

// holds fails the test unless the registry holds exactly those subjects.
func holds(t testing.TB, n *node, want []string) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	if got := subjects(n.List("", 0)); !slices.Equal(got, want) {
		t.Fatalf("accounts are %s\nwant %s\nmissing %q, too many %q", brief(got), brief(want), without(want, got), without(got, want))
	}
}

func brief(list []string) string { return fmt.Sprintf("%d of them", len(list)) }

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func engine(t testing.TB, f faultstorage.Faults) *faultstorage.Engine {
	t.Helper()
	e := faultstorage.New(f)
	t.Cleanup(func() {
		e.Release()
		if v := e.Violations(); len(v) > 0 {
			t.Errorf("calls that no storage takes: %q", v)
		}
	})
	return e
}

// record finds the key of the one shard record whose value holds the text.
func record(t testing.TB, e *faultstorage.Engine, text string) string {
	t.Helper()
	for _, key := range e.Keys() {
		if strings.Contains(key, "/shard-") && strings.Contains(string(e.Value(key)), text) {
			return key
		}
	}
	t.Fatalf("no record holds %q", text)
	return ""
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v; want %v", err, want)
	}
}

// one does one change.
func one(ctx context.Context, v changer, c account.Change) (*account.Account, error) {
	results, err := v.Apply(ctx, []account.Change{c}, nil)
	if err != nil {
		return nil, err
	}
	return results[0].Account, results[0].Err
}

// changer is a registry, or a node.
type changer interface {
	Apply(context.Context, []account.Change, func(int)) ([]account.Result, error)
}

func (n *node) Create(ctx context.Context, d *account.Draft) (*account.Account, error) {
	return one(ctx, n, account.Change{Op: account.Create, Draft: d})
}

func (n *node) Replace(ctx context.Context, key string, d *account.Draft) (*account.Account, error) {
	return one(ctx, n, account.Change{Op: account.Replace, Key: key, Draft: d})
}

func (n *node) Delete(ctx context.Context, key string) (*account.Account, error) {
	return one(ctx, n, account.Change{Op: account.Delete, Key: key})
}

func (n *node) Get(key string) (*account.Account, bool) {
	a, err := n.Find("", key)
	return a, err == nil
}

func (n *node) List(after string, limit int) []*account.Account {
	return n.Page(account.Query{After: after, Limit: limit})
}

// storeErrors are what a disk that is full, or may not be written, answers.
var storeErrors = []error{syscall.ENOSPC, syscall.EROFS, fs.ErrPermission}

// hanging is a storage that answers nothing until it is released.
type hanging struct {
	release chan struct{}
}

func (h *hanging) hang() error {
	<-h.release
	return faultstorage.ErrDown
}

func (h *hanging) Lock(context.Context, string) error           { return h.hang() }
func (h *hanging) Unlock(context.Context, string) error         { return h.hang() }
func (h *hanging) Store(context.Context, string, []byte) error  { return h.hang() }
func (h *hanging) Load(context.Context, string) ([]byte, error) { return nil, h.hang() }
func (h *hanging) Delete(context.Context, string) error         { return h.hang() }
func (h *hanging) List(context.Context, string, bool) ([]string, error) {
	return nil, h.hang()
}
