package storage

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

func TestNoStorage(t *testing.T) {
	c := NewClient(nil, 0)
	_, err := c.Load(t.Context(), "a")
	wantError(t, err, ErrNoStorage)
	_, err = c.Find(t.Context(), "a")
	wantError(t, err, ErrNoStorage)
	_, err = c.List(t.Context(), "a")
	wantError(t, err, ErrNoStorage)
	wantError(t, c.StoreChecked(t.Context(), "a", nil), ErrNoStorage)
	wantError(t, c.Delete(t.Context(), "a"), ErrNoStorage)
	wantError(t, c.Lock(t.Context(), "a"), ErrNoStorage)
	wantError(t, c.Unlock(t.Context(), "a"), ErrNoStorage)
	if c.HasStorage() {
		t.Error("a client of nothing has a storage")
	}
}

// TestEachOfAClient: a storage that takes its time is asked more at once than one that is of
// this machine, which rests in between.
func TestEachOfAClient(t *testing.T) {
	for trip, want := range map[time.Duration]time.Duration{
		20 * time.Millisecond:  40 * time.Millisecond,  // two rounds of 8
		time.Millisecond:       31 * time.Millisecond,  // 15 rests between 16 calls
		5 * time.Millisecond:   110 * time.Millisecond, // 2 ms each
		time.Nanosecond:        16 * time.Nanosecond,
		100 * time.Millisecond: 200 * time.Millisecond,
	} {
		t.Run(trip.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, e := faulty(faultstorage.Faults{Trip: trip})
				defer e.Release()
				if _, err := c.List(t.Context(), folder); err != nil {
					t.Fatal(err)
				}
				var asked atomic.Int32
				begun := time.Now()
				err := c.Each(16, func(int) error {
					asked.Add(1)
					time.Sleep(trip)
					return nil
				})
				if took := time.Since(begun); err != nil || asked.Load() != 16 || took != want {
					t.Errorf("%d calls, %v, in %s; want 16 in %s", asked.Load(), err, took, want)
				}
			})
		})
	}
}
