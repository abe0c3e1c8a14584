package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// licenseFiles are a license and the key to trust.
type licenseFiles struct{ license, key string }

// newLicense signs a license for hosts; nil in a build that asks for none.
func newLicense(dir string, hosts []string) (*licenseFiles, error) {
	if _, err := caddy.GetModule("http.handlers.require_license"); err != nil {
		return nil, nil
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: private})
	if err != nil {
		return nil, fmt.Errorf("making the license's signer: %w", err)
	}
	signed, err := signer.Sign(license.Request{
		Type: license.Enterprise, AllowedHosts: hosts, Description: "measuring", TTL: 24 * time.Hour,
	})
	if err != nil {
		return nil, fmt.Errorf("signing the license: %w", err)
	}
	text, err := signed.Encode()
	if err != nil {
		return nil, err
	}
	key, err := license.EncodePublicKey(public)
	if err != nil {
		return nil, err
	}
	prefix := filepath.Join(dir, fmt.Sprintf("license-%d", len(hosts)))
	files := &licenseFiles{prefix + ".json", prefix + ".pem"}
	if err := os.WriteFile(files.license, text, 0o600); err != nil {
		return nil, err
	}
	return files, os.WriteFile(files.key, key, 0o600)
}
