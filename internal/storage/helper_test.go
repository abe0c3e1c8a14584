package storage

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

func TestMain(m *testing.M) {
	// Caddy's storage sees up to five seconds late that a lock was given back.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// deaf is a storage whose calls, while it is shut, return only when it is opened,
// whatever their context says.
type deaf struct {
	Storage
	mu   sync.Mutex
	gate chan struct{} // nil: it is open
}

func (d *deaf) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = make(chan struct{})
}

func (d *deaf) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.gate)
	d.gate = nil
}

func (d *deaf) wait() {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (d *deaf) Load(ctx context.Context, key string) ([]byte, error) {
	d.wait()
	return d.Storage.Load(ctx, key)
}

func (d *deaf) Lock(ctx context.Context, name string) error {
	d.wait()
	return d.Storage.Lock(ctx, name)
}

// faulty is a client of a storage with faults that holds values at these keys.
func faulty(f faultstorage.Faults, keys ...string) (*Client, *faultstorage.Engine) {
	e := faultstorage.New(f)
	for _, key := range keys {
		e.Set(key, []byte("value of "+key))
	}
	return NewClient(e.Node(), 0), e
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantTook(t *testing.T, since time.Time, want time.Duration) {
	t.Helper()
	if took := time.Since(since); took != want {
		t.Errorf("took %s, want %s", took, want)
	}
}
