package issuer

import (
	"context"
	"io/fs"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// log is an observer that remembers.
type log struct {
	mu     sync.Mutex
	events []Event
}

func (l *log) observe(ev Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, ev)
}

// of returns the events of a kind.
func (l *log) of(kind EventKind) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Event
	for _, ev := range l.events {
		if ev.Kind == kind {
			found = append(found, ev)
		}
	}
	return found
}

func (l *log) kinds() []EventKind {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := []EventKind{}
	for _, ev := range l.events {
		kinds = append(kinds, ev.Kind)
	}
	return kinds
}

// memory is a storage whose calls can be made to fail, wait or hang.
type memory struct {
	storage.Storage // nil: an engine calls nothing else

	mu       sync.Mutex
	values   map[string][]byte
	err      error
	gate     chan struct{} // calls wait for it
	deaf     bool          // and ignore their context meanwhile
	loads    int
	storings int
}

func newMemory() *memory { return &memory{values: map[string][]byte{}} }

func (m *memory) enter(ctx context.Context) error {
	m.mu.Lock()
	gate, deaf := m.gate, m.deaf
	m.mu.Unlock()
	if gate == nil {
		return nil
	}
	over := ctx.Done()
	if deaf {
		over = nil
	}
	select {
	case <-gate:
		return nil
	case <-over:
		return ctx.Err()
	}
}

func (m *memory) Store(ctx context.Context, key string, value []byte) error {
	err := m.enter(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.storings++
	if err != nil || m.err != nil {
		return firstOf(err, m.err)
	}
	m.values[key] = value
	return nil
}

func (m *memory) Load(ctx context.Context, key string) ([]byte, error) {
	err := m.enter(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads++
	if err != nil || m.err != nil {
		return nil, firstOf(err, m.err)
	}
	value, ok := m.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return value, nil
}

func (m *memory) do(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *memory) stored() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.storings
}
