package active

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Caddy's storage sees up to five seconds late that a lock was given back.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}
