package caddymodule

import (
	"encoding/base64"
	"testing"
)

// Seal makes this a build with sealed keys for the time of a test.
func Seal(t *testing.T, pem []byte) {
	t.Helper()
	sealedTrustedKeys = base64.StdEncoding.EncodeToString(pem)
	t.Cleanup(func() { sealedTrustedKeys = "" })
}
