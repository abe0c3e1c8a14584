package active

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// seen is the longest that a change may take to be seen.
const seen = 5 * time.Second

func TestFileChanges(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string, data []byte){
		"in place": write,
		"atomic rename": func(t *testing.T, path string, data []byte) {
			write(t, path+".new", data)
			must(t, os.Rename(path+".new", path))
		},
		"removed and made": func(t *testing.T, path string, data []byte) {
			must(t, os.Remove(path))
			time.Sleep(3 * time.Second / 10)
			write(t, path, data)
		},
		"in two writes": func(t *testing.T, path string, data []byte) {
			write(t, path, data[:len(data)/2])
			time.Sleep(fileLook) // one look meets the half
			write(t, path, data)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := licenseFile(t, signed(t, "Acme"))
				k, l := started(t, File(path), nil)
				l.want(t, ">valid")
				change(t, path, signed(t, "Other"))
				time.Sleep(seen - fileLook)
				wantCustomer(t, k, "Other")
				if ev := l.want(t, "replaced")[0]; ev.Validity.License().Payload.Description != "Other" {
					t.Error("the event is about another license")
				}
			})
		})
	}
}

// TestFileWithDeafStorage: storage is asked for the time only, and cannot hold up
// the watching.
func TestFileWithDeafStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := licenseFile(t, signed(t, "Acme"))
		h := newFaultStorage(t)
		h.gate, h.deaf = make(chan struct{}), true
		defer h.open()
		k, _ := started(t, File(path), h)
		for range 40 {
			write(t, path, signed(t, "Other"))
			time.Sleep(seen)
			wantCustomer(t, k, "Other")
			write(t, path, signed(t, "Acme"))
			time.Sleep(seen)
			wantCustomer(t, k, "Acme")
		}
	})
}

// TestFileSameTimeAndSize: a change is seen by the content.
func TestFileSameTimeAndSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := licenseFile(t, signed(t, "Acme"))
		k, _ := started(t, File(path), nil)
		info, err := os.Stat(path)
		must(t, err)
		other := signed(t, "Emca")
		if int64(len(other)) != info.Size() {
			t.Fatal("the licenses differ in size")
		}
		write(t, path, other)
		must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		time.Sleep(seen)
		wantCustomer(t, k, "Emca")
	})
}

// TestFileOfConfigMap: Kubernetes swaps the symbolic link of a folder.
func TestFileOfConfigMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mount := t.TempDir()
		publish := func(revision string, data []byte) {
			must(t, os.Mkdir(filepath.Join(mount, revision), 0o700))
			if data != nil {
				write(t, filepath.Join(mount, revision, "license.json"), data)
			}
			must(t, os.Symlink(revision, filepath.Join(mount, "..data_tmp")))
			must(t, os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
		}
		publish("..2026_01", signed(t, "Acme"))
		path := filepath.Join(mount, "license.json")
		must(t, os.Symlink(filepath.Join("..data", "license.json"), path))
		k, l := started(t, File(path), nil)
		wantCustomer(t, k, "Acme")
		publish("..2026_02", signed(t, "Other"))
		must(t, os.RemoveAll(filepath.Join(mount, "..2026_01")))
		time.Sleep(seen)
		wantCustomer(t, k, "Other")
		l.want(t, ">valid", "replaced")
		publish("..2026_03", nil) // the key was taken out of the map
		time.Sleep(seen)
		wantCustomer(t, k, "Other")
		l.want(t, "vanished")
		publish("..2026_04", signed(t, "Third"))
		time.Sleep(seen)
		wantCustomer(t, k, "Third")
		l.want(t, "mended", "replaced")
	})
}

// TestFileFaults: whatever becomes of the file, the last good license stays until
// its own end, and each fault is reported once.
func TestFileFaults(t *testing.T) {
	good := func(t *testing.T) []byte { return signed(t, "Acme") }
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"changed":   {func(t *testing.T, p string) { write(t, p, broken(good(t))) }, "rejected"},
		"truncated": {func(t *testing.T, p string) { must(t, os.Truncate(p, 100)) }, "rejected"},
		"emptied":   {func(t *testing.T, p string) { must(t, os.Truncate(p, 0)) }, "rejected"},
		"grown":     {func(t *testing.T, p string) { must(t, os.Truncate(p, 1<<30)) }, "rejected"},
		"gone":      {func(t *testing.T, p string) { must(t, os.Remove(p)) }, "vanished"},
		"folder gone": {func(t *testing.T, p string) {
			must(t, os.Rename(filepath.Dir(p), filepath.Dir(p)+"-away"))
			t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(p) + "-away") })
		}, "vanished"},
		"a folder": {func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Mkdir(p, 0o700)) }, "rejected"},
		"a loop":   {func(t *testing.T, p string) { must(t, os.Remove(p)); must(t, os.Symlink(p, p)) }, "rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				data := good(t)
				path := licenseFile(t, data)
				k, l := started(t, File(path), nil)
				l.want(t, ">valid")
				c.spoil(t, path)
				time.Sleep(seen)
				wantState(t, k, license.StateValid)
				if ev := l.want(t, c.want)[0]; ev.Err == nil || k.Fault() != ev.Err {
					t.Errorf("fault %v, reported %v", k.Fault(), ev.Err)
				}
				time.Sleep(200 * unit)
				wantState(t, k, license.StateExpired)
				l.want(t, "valid>expiring", "expiring>grace", "grace>expired")
			})
		})
	}
}

func TestFileMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := signed(t, "Acme")
		path := licenseFile(t, data)
		k, l := started(t, File(path), nil)
		for range 3 {
			must(t, os.Remove(path))
			time.Sleep(time.Minute)
			write(t, path, []byte("nonsense"))
			time.Sleep(time.Minute)
			write(t, path, broken(data))
			time.Sleep(time.Minute)
			write(t, path, data)
			time.Sleep(seen)
		}
		wantCustomer(t, k, "Acme")
		if err := k.Fault(); err != nil {
			t.Errorf("mended, and the fault is %v", err)
		}
		once := []string{"vanished", "rejected", "rejected", "mended"}
		l.want(t, append([]string{">valid"}, append(append(once, once...), once...)...)...)
	})
}

// TestFileAppears: from missing over invalid to valid, and never back.
func TestFileAppears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := licenseFile(t, nil)
		k, l := started(t, File(path), nil)
		write(t, path, []byte("nonsense"))
		time.Sleep(seen)
		wantState(t, k, license.StateInvalid)
		write(t, path, []byte(`{"other":"nonsense"}`))
		time.Sleep(seen)
		must(t, os.Remove(path))
		time.Sleep(seen)
		wantState(t, k, license.StateMissing)
		data := signed(t, "Acme")
		for range 10 { // half a file is no news, whenever a look meets it
			write(t, path, data[:50])
			time.Sleep(secondLook - time.Millisecond)
			must(t, os.Remove(path))
			time.Sleep(fileLook + fileLook/10)
			wantState(t, k, license.StateMissing)
		}
		write(t, path, data)
		time.Sleep(seen)
		wantState(t, k, license.StateValid)
		l.want(t, ">missing", "missing>invalid", "rejected", "invalid>missing", "missing>valid")
	})
}

// TestFileOfLaterTime: next year's license may be put in place early.
func TestFileOfLaterTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		path := licenseFile(t, signed(t, "This year"))
		k, l := started(t, File(path), nil)
		write(t, path, signed(t, "Next year", from(began.Add(95*unit)), lastingFor(300*unit)))
		time.Sleep(seen)
		wantCustomer(t, k, "This year")
		wantRefusal(t, l.want(t, ">valid", "deferred")[1].Err, license.ReasonNotYetValid)
		time.Sleep(time.Until(began.Add(95*unit - time.Second)))
		wantCustomer(t, k, "This year")
		time.Sleep(time.Second)
		wantCustomer(t, k, "Next year") // before anybody could tell
		l.want(t, "valid>expiring", "replaced", "expiring>valid")

		write(t, path, signed(t, "Last year", func(r *license.Request) { r.TTL = time.Second; r.Grace = new(int64(0)) }))
		time.Sleep(seen)
		wantCustomer(t, k, "Next year")
		l.want(t, "deferred")
		time.Sleep(400 * unit)
		wantState(t, k, license.StateExpired)
	})
}

// TestFileOfLaterTimeTakenBack: what waits is forgotten when the file says again
// what is in force, and what passes replaces both.
func TestFileOfLaterTimeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, next := signed(t, "Now"), signed(t, "Next", from(time.Now().Add(50*unit)))
		path := licenseFile(t, now)
		k, l := started(t, File(path), nil)
		write(t, path, next)
		time.Sleep(seen)
		write(t, path, now)
		time.Sleep(60 * unit)
		wantCustomer(t, k, "Now")
		l.want(t, ">valid", "deferred")
		write(t, path, next)
		time.Sleep(seen)
		wantCustomer(t, k, "Next")
		l.want(t, "replaced")
	})
}
