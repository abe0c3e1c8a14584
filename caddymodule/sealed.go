package caddymodule

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// sealedTrustedKeys fixes whom licenses are believed from when the program is
// built: base64 (RFC 4648, section 4) of a PEM text of public keys. Who runs the
// server can edit its configuration, but not this:
//
//	go build -ldflags "-X github.com/gatehouse-proxy/gatehouse/caddymodule.sealedTrustedKeys=$(base64 -w0 vendor.pub)"
//
// Empty: the configuration says it.
var sealedTrustedKeys string

// sealedBuild tells whether trust was fixed when the program was built.
func sealedBuild() bool { return sealedTrustedKeys != "" }

// sealedKeys are the keys of the build.
func sealedKeys() ([]license.TrustedKey, error) {
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(sealedTrustedKeys))
	if err != nil {
		return nil, fmt.Errorf("the keys sealed into this build are not base64 of PEM: %w", err)
	}
	public, err := license.ParsePublicKeys(text)
	if err != nil {
		return nil, fmt.Errorf("the keys sealed into this build: %w", err)
	}
	keys := make([]license.TrustedKey, 0, len(public))
	for _, key := range public {
		keys = append(keys, license.TrustedKey{Key: key})
	}
	return keys, nil
}

// errSealed words an option that a sealed build does not leave to the
// configuration.
func errSealed(option string) error {
	return errors.New(option + ": this build is sealed: its vendor has fixed whom licenses are believed from and what follows; take the option out")
}

// checkSealed refuses the options that would weaken a sealed build.
func (c *LicenseConfig) checkSealed() error {
	if !sealedBuild() {
		return nil
	}
	switch {
	case len(c.TrustedKeys) > 0:
		return errSealed("trusted_key")
	case c.Missing == answerAllow:
		return errSealed("missing allow")
	case c.Enforcement == answerLog:
		return errSealed("enforcement log")
	case c.Grace != nil:
		return errSealed("grace")
	}
	return nil
}
