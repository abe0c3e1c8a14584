//go:build unix

package active

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// TestFileThatIsAPipe: reading it would wait for ever.
func TestFileThatIsAPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := licenseFile(t, signed(t, "Acme"))
		k, l := started(t, File(path), nil)
		must(t, os.Remove(path))
		must(t, syscall.Mkfifo(path, 0o600))
		time.Sleep(seen)
		wantState(t, k, license.StateValid)
		l.want(t, ">valid", "rejected")
		wantState(t, newKeeper(t, File(path)), license.StateInvalid)
	})
}
