package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

const folder = "gatehouse/things"

// TestList: whatever a storage shows beside it, the keys in the folder come out,
// and no folder is an empty one.
func TestList(t *testing.T) {
	want := []string{folder + "/a.json", folder + "/b.json", folder + "/c.json"}
	for name, f := range map[string]faultstorage.Faults{
		"good":                     {},
		"temporary names":          {TemporaryNames: true},
		"no folder is no error":    {ListMissing: faultstorage.ListEmpty},
		"no folder is an error":    {ListMissing: faultstorage.ListError},
		"no folder fails if deep":  {ListMissing: faultstorage.ListFails},
		"folders":                  {ListFolders: true},
		"siblings":                 {ListSiblings: true},
		"everything":               {ListAll: true},
		"a temporary file went":    {ListBreaks: true},
		"all of that":              {ListBreaks: true, ListAll: true, ListSiblings: true, ListFolders: true, TemporaryNames: true},
		"one call of sixteen dies": {ListFolders: true, ListBreaks: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, e := faulty(f)
			got, err := c.List(t.Context(), folder)
			if got = ours(got); err != nil || len(got) != 0 {
				t.Errorf("of no folder: %v, %v", got, err)
			}
			for _, key := range append(want, folder+"/deep/d.json", "gatehouse/other/e.json", "gatehouse/things_b/f.json") {
				e.Set(key, []byte("x"))
			}
			for range 3 {
				got, err := c.List(t.Context(), folder)
				if got = ours(got); err != nil || !slices.Equal(got, want) {
					t.Errorf("%v, %v; want %v", got, err, want)
				}
			}
			if v := e.Violations(); len(v) > 0 {
				t.Error(v)
			}
		})
	}
}

// ours are the keys of the form that a test writes.
func ours(keys []string) []string {
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasSuffix(key, ".json") })
}

// breaking is a storage whose listings never come to their end.
type breaking struct{ Storage }

func (breaking) List(context.Context, string, bool) ([]string, error) {
	return nil, &fs.PathError{Op: "lstat", Path: "/data/" + folder + "/1234", Err: fs.ErrNotExist}
}

// TestListThatNeverEnds is an error, and not an empty folder.
func TestListThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e := faulty(faultstorage.Faults{})
		c := NewClient(breaking{e.Node()}, 0)
		_, err := c.List(t.Context(), folder)
		wantError(t, err, ErrMoves)
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, which is taken for an empty folder", err)
		}
		_, err = c.Find(t.Context(), folder+"/a.json")
		if wantError(t, err, ErrMoves); errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, which is taken for a value that is not there", err)
		}
	})
}

// TestListWhileOthersWrite: on a shared folder, what stays is listed each time.
func TestListWhileOthersWrite(t *testing.T) {
	s := &certmagic.FileStorage{Path: t.TempDir()}
	c := NewClient(s, 0)
	if keys, err := c.List(t.Context(), folder); err != nil || len(keys) != 0 {
		t.Fatalf("of no folder: %v, %v", keys, err)
	}
	var want []string
	for i := range 20 {
		key := fmt.Sprintf("%s/%02d.json", folder, i)
		must(t, c.StoreChecked(t.Context(), key, []byte("x")))
		want = append(want, key)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for i := range 2 {
		writers.Go(func() {
			for ctx.Err() == nil {
				_ = s.Store(ctx, want[i], []byte("y"))
			}
		})
	}
	for range 200 {
		if keys, err := c.List(t.Context(), folder); err != nil || !slices.Equal(ours(keys), want) {
			t.Errorf("%v, %v", keys, err)
			break
		}
	}
	cancel()
	writers.Wait()
}

// TestFind: that a value is not there is believed when a listing agrees.
func TestFind(t *testing.T) {
	const key = folder + "/a.json"
	for name, f := range map[string]faultstorage.Faults{"good": {}, "missing while down": {MissingWhileDown: true}, "listings break": {ListBreaks: true}} {
		t.Run(name, func(t *testing.T) {
			c, e := faulty(f)
			_, err := c.Find(t.Context(), key)
			wantError(t, err, fs.ErrNotExist)
			e.Set(key, []byte("x"))
			if value, err := c.Find(t.Context(), key); err != nil || string(value) != "x" {
				t.Errorf("%q, %v", value, err)
			}
			e.SetDown(true)
			if _, err := c.Find(t.Context(), key); !errors.Is(err, faultstorage.ErrDown) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("while it is down: %v", err)
			}
		})
	}
	t.Run("on a folder", func(t *testing.T) {
		c := NewClient(&certmagic.FileStorage{Path: t.TempDir()}, 0)
		_, err := c.Find(t.Context(), key)
		wantError(t, err, fs.ErrNotExist)
		must(t, c.StoreChecked(t.Context(), key, []byte("x")))
		if value, err := c.Find(t.Context(), key); err != nil || string(value) != "x" {
			t.Errorf("%q, %v", value, err)
		}
		must(t, c.Delete(t.Context(), key))
		_, err = c.Find(t.Context(), key)
		wantError(t, err, fs.ErrNotExist)
	})
}

// losing is a storage that lists what it does not find.
type losing struct{ Storage }

func (losing) Load(context.Context, string) ([]byte, error) { return nil, fs.ErrNotExist }

func TestFindWavers(t *testing.T) {
	_, e := faulty(faultstorage.Faults{}, folder+"/a.json")
	_, err := NewClient(losing{e.Node()}, 0).Find(t.Context(), folder+"/a.json")
	if wantError(t, err, ErrWavers); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, which is taken for a value that is not there", err)
	}
}

// forgetting is a storage that acknowledges what it does not write.
type forgetting struct{ Storage }

func (forgetting) Store(context.Context, string, []byte) error { return nil }

func TestStoreChecked(t *testing.T) {
	const key = folder + "/a.json"
	c, e := faulty(faultstorage.Faults{})
	must(t, c.StoreChecked(t.Context(), key, []byte("new")))
	wantError(t, c.ReadBack(t.Context(), key, []byte("other")), ErrReadBack)
	forgetful := NewClient(forgetting{e.Node()}, 0)
	wantError(t, forgetful.StoreChecked(t.Context(), key, []byte("newer")), ErrReadBack)
	wantError(t, forgetful.StoreChecked(t.Context(), folder+"/b.json", []byte("newer")), fs.ErrNotExist)
	e.SetStoreError(syscall.ENOSPC)
	err := c.StoreChecked(t.Context(), key, []byte("newest"))
	if wantError(t, err, syscall.ENOSPC); !strings.Contains(err.Error(), "writing "+key) {
		t.Errorf("error %v does not say what was done", err)
	}
}

func TestIsLasting(t *testing.T) {
	for _, err := range []error{
		ErrNoStorage, fs.ErrPermission, syscall.EROFS, syscall.ENOSPC,
		&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES},
		fmt.Errorf("creating lock file: %v", &fs.PathError{Op: "open", Path: "x.lock", Err: syscall.EROFS}), //nolint:errorlint // as certmagic does
	} {
		if !IsLasting(fmt.Errorf("writing: %w", err)) {
			t.Errorf("%v goes away by itself", err)
		}
	}
	for _, err := range []error{nil, faultstorage.ErrDown, fs.ErrNotExist, ErrNoAnswer, ErrStuck, context.DeadlineExceeded} {
		if IsLasting(err) {
			t.Errorf("%v lasts", err)
		}
	}
}

// TestFolderWithoutPermission: the real error of a real folder is a lasting one.
func TestFolderWithoutPermission(t *testing.T) {
	path := t.TempDir()
	must(t, os.Mkdir(filepath.Join(path, "locks"), 0o500))
	must(t, os.Chmod(path, 0o500))
	t.Cleanup(func() { _ = os.Chmod(path, 0o700) }) // before it is removed
	asked := func(c *Client) []error {
		return []error{c.Store(t.Context(), folder+"/a.json", []byte("x")), c.Lock(t.Context(), "a")}
	}
	closed := path
	if os.Getuid() == 0 { // root may write there, but not here, where no lock file is tried for lack of its folder
		closed = "/sys/kernel/closed"
		asked = func(c *Client) []error { return []error{c.Store(t.Context(), folder+"/a.json", []byte("x"))} }
	}
	for _, err := range asked(NewClient(&certmagic.FileStorage{Path: closed}, 0)) {
		if !IsLasting(err) {
			t.Errorf("error %v", err)
		}
	}
}
