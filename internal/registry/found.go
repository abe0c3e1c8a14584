package registry

import (
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// found makes the first revision, without records, so that there is one from
// the first record on. It is sure that nothing was there: a record of its own
// can be read before and after the revision cannot.
//
// Two nodes that do so at once, by a lock that both hold, would begin two
// registries, and none of them gives up what it knows. So it waits, for longer
// than another one may have taken to write since it found nothing, and looks
// which of the two is there.
func (c *committer[K, R]) found() error {
	begun := time.Now()
	err := c.probe(func() error {
		found, err := c.read()
		if err == nil && found.rev != nil {
			return errRaced
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.first == nil { // a try that failed may be written late, and must not be another registry then
		c.first = newRevision()
	}
	ctx, rev := c.lease.Context(), c.first
	record := rev.encode()
	if err := c.lease.StoreChecked(ctx, c.r.folder.revision(), record); err != nil {
		return err
	}
	if err := storage.Pause(ctx, max(2*time.Since(begun), 50*time.Millisecond)); err != nil {
		return err
	}
	if err := c.lease.ReadBack(ctx, c.r.folder.revision(), record); err != nil {
		return fmt.Errorf("%w: %w", errRaced, err)
	}
	if err := c.lease.StoreChecked(ctx, c.r.folder.copied(), record); err != nil {
		return err
	}
	c.shown = reading{raw: record, rev: rev}
	c.publish(rev, c.r.current.Load(), nil)
	return nil
}

// probe looks for what is perhaps not there while a record of its own can be read
// before and after: a storage that is down may say "not found" of everything.
func (c *committer[K, R]) probe(look func() error) error {
	ctx := c.lease.Context()
	if err := c.lease.StoreChecked(ctx, c.r.folder.probe(), []byte("ok\n")); err != nil {
		return err
	}
	if err := look(); err != nil {
		return err
	}
	if _, err := c.lease.Load(ctx, c.r.folder.probe()); err != nil {
		return err
	}
	_ = c.lease.Delete(ctx, c.r.folder.probe()) // of no use any more, and no harm
	return nil
}
