package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// counter is an owner: it outlives configurations, and keeps a number of things in
// the storage of the one that runs.
type counter struct {
	leases storage.Leases[given]
	events storage.Mailbox[string]
	ctx    context.Context // ends with the owner
	mu     sync.Mutex
	things int
}

// given is what a configuration has beside its storage.
type given struct {
	observe func(string)
}

func (c *counter) attach(s storage.Storage, observe func(string)) (detach func()) {
	return c.leases.Attach(c.ctx, storage.NewClient(s, 0), given{observe}).Detach
}

// observer is who observes now.
func (c *counter) observer() (func(string), bool) {
	host, ok := c.leases.NewestHost()
	return host.observe, ok
}

const key, lock = "gatehouse/things/count", "gatehouse-things"

// add is a write: under the lock, of what was read under the lock, and read back.
func (c *counter) add() error {
	lease := c.leases.Use() // Detach waits for it
	if lease == nil {
		return storage.ErrNoStorage
	}
	defer lease.Done()
	ctx := lease.Context()
	for {
		err := lease.Lock(ctx, lock)
		if err == nil {
			break
		}
		if !errors.Is(err, storage.ErrLockSlow) || ctx.Err() != nil {
			return err
		}
	}
	defer lease.UnlockSurely(ctx, lock)
	old, err := lease.Find(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	value := append(old, '|')
	if err := lease.StoreChecked(ctx, key, value); err != nil {
		return err
	}
	c.mu.Lock()
	c.things = len(value)
	c.events.Note(fmt.Sprintf("there are %d things", c.things))
	c.mu.Unlock()
	c.events.Deliver(c.observer)
	return nil
}

// An owner takes leases of the configurations' storages.
func Example() {
	engine := faultstorage.New(faultstorage.Faults{MissingWhileDown: true})
	c := &counter{ctx: context.Background()}
	fmt.Println(c.add())
	detach := c.attach(engine.Node(), func(event string) { fmt.Println("first:", event) })
	_ = c.add()
	c.attach(engine.Node(), func(event string) { fmt.Println("second:", event) })
	detach()
	_ = c.add()
	// Output:
	// no storage is attached
	// first: there are 1 things
	// second: there are 2 things
}
