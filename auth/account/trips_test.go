package account_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

// TestRoundTripsOfAChange counts the round trips until a change is acknowledged,
// where each takes 100 ms of a time of the test's own.
func TestRoundTripsOfAChange(t *testing.T) {
	const trip = 100 * time.Millisecond
	bubble(t, faultstorage.Faults{Trip: trip}, func(t *testing.T, e *faultstorage.Engine) {
		n := &node{Registry: account.New(account.Options{}), heard: make(chan struct{}, 1)}
		n.Attach(account.Host{Storage: e.Node(), Refresh: time.Hour})
		n.loaded(t)
		create(t, n, "first") // which founds the registry
		time.Sleep(time.Minute)
		begun := time.Now()
		create(t, n, "second")
		if trips := time.Since(begun) / trip; trips > 7 {
			t.Errorf("%d round trips, want 7 at most", trips)
		}
		_ = n.Close()
	})
}

// TestAnImportLeavesNoOldRecords: an import in steps rewrites nearly every shard at
// each. What it replaced goes within seconds, and does not pile up meanwhile.
func TestAnImportLeavesNoOldRecords(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	n := start(t, &certmagic.FileStorage{Path: folder}, account.Options{}).loaded(t)
	records := func() int {
		found := 0
		err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
			if strings.HasPrefix(filepath.Base(path), "shard-") {
				found++
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = nil // it went meanwhile
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	var subjects []string
	for i := range 20_000 {
		subjects = append(subjects, fmt.Sprint("machine-", i))
	}
	create(t, n, subjects...) // a thousand at a time
	most := records()
	eventually(t, "the old records are gone", func() bool {
		now := records()
		most = max(most, now)
		return now > 0 && now <= 256
	})
	t.Logf("%d records at most, 256 shards", most)
}
