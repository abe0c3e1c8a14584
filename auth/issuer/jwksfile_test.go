package issuer

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func fileEngine(t *testing.T, data []byte) (e *Engine, path string, l *log, m *memory) {
	t.Helper()
	path, l, m = tempFile(t, "jwks.json", data), &log{}, newMemory()
	e = start(t, Config{Issuer: "me", JWKSFile: path, MaxStale: time.Hour}, Options{})
	e.Attach(Host{Observe: l.observe, Storage: m})
	synctest.Wait()
	return e, path, l, m
}

func TestKeyFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, path, l, m := fileEngine(t, setOf(edKey("a")))
		k := e.JWKS().byID["a"][0]
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if !k.Trusted() || time.Since(e.Status().FetchedAt) > fileLook {
			t.Error("an unchanged file grows stale")
		}
		writeFile(t, path, setOf(edKey("b")))
		time.Sleep(fileLook)
		synctest.Wait()
		if k.Trusted() || e.JWKS().byID["b"] == nil {
			t.Error("a change is not seen within 5 s")
		}
		writeFile(t, path, setOf(edKey("c")))
		equal(t, "on demand", together(e, 40, func(int) func(*JWKS) bool { return holds("c") }), outcomes{good: 40})
		equal(t, "changes", len(l.of(KeysChanged)), 3)
		equal(t, "storage", m.stored()+m.loads, 0)
		equal(t, "source", e.Status().Source, "file "+path)
	})
}

func TestKeyFileTurnsBad(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"gone":      os.Remove,
		"not JSON":  func(path string) error { return os.WriteFile(path, []byte("SECRET"), 0o600) },
		"no keys":   func(path string) error { return os.WriteFile(path, setOf(), 0o600) },
		"too large": func(path string) error { return os.WriteFile(path, make([]byte, maxBodyBytes+1), 0o600) },
		"a folder": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, path, l, _ := fileEngine(t, setOf(edKey("a")))
				if err := spoil(path); err != nil {
					t.Fatal(err)
				}
				time.Sleep(fileLook)
				synctest.Wait()
				if e.JWKS().byID["a"] == nil {
					t.Fatal("the last good keys are gone")
				}
				equal(t, "unavailable", len(l.of(Unavailable)), 1)
				if text := e.Status().LastError; !strings.Contains(text, path) || strings.Contains(text, "SECRET") {
					t.Errorf("last error: %s", text)
				}
				time.Sleep(90 * time.Minute)
				if e.JWKS() != nil {
					t.Error("a bad file keeps old keys for ever")
				}
				if n := len(l.of(FetchFailed)); n > 50 {
					t.Errorf("read %d times in 90 minutes", n)
				}
				if name == "a folder" {
					_ = os.Remove(path)
				}
				writeFile(t, path, setOf(edKey("b")))
				time.Sleep(20 * time.Minute)
				synctest.Wait()
				if e.JWKS() == nil || e.JWKS().byID["b"] == nil {
					t.Error("it does not recover")
				}
				equal(t, "recovered", len(l.of(Recovered)), 1)
			})
		})
	}
}

func TestKeyFileMustBeAFile(t *testing.T) {
	e := start(t, Config{Issuer: "me", JWKSFile: os.DevNull}, Options{})
	if err := e.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
}
