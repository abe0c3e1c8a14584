package caddymodule

import (
	"encoding/base64"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/internal/sealed"
)

// Seal makes this a build with sealed keys for the time of a test.
func Seal(t *testing.T, pem []byte) {
	t.Helper()
	sealed.TrustedKeys = base64.StdEncoding.EncodeToString(pem)
	t.Cleanup(func() { sealed.TrustedKeys = "" })
}
