package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// What the demo knows of licenses: a vendor's key that is made at start, and a
// license for the gateway's own host.

func (s *Stage) vendorKey() string   { return filepath.Join(s.Dir, "vendor.key") }
func (s *Stage) licenseFile() string { return filepath.Join(s.Dir, "license.json") }

// otherSite is a site whose host the license does not name.
func (s *Stage) otherSite() string {
	return "http://other.localhost" + s.Site[strings.LastIndexByte(s.Site, ':'):]
}

// makeLicense makes the vendor's key and a license for this machine.
func (s *Stage) makeLicense() error {
	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		return fmt.Errorf("making the demo's vendor key: %w", err)
	}
	if err := keyfile.Create(s.vendorKey(), key); err != nil {
		return fmt.Errorf("keeping the demo's vendor key: %w", err)
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: key})
	if err != nil {
		return err
	}
	signed, err := signer.Sign(license.Request{
		Type: license.Enterprise, AllowedHosts: []string{"127.0.0.1"}, Description: "the demo", TTL: 365 * 24 * time.Hour,
	})
	if err != nil {
		return fmt.Errorf("signing the demo's license: %w", err)
	}
	text, err := signed.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(s.licenseFile(), text, 0o600)
}

// licenseEnvironment is what Caddyfile.example reads about the license.
func (s *Stage) licenseEnvironment(vars map[string]string) map[string]string {
	vars["GATEHOUSE_LICENSE"] = s.licenseFile()
	vars["GATEHOUSE_TRUSTED_KEY"] = s.vendorKey() + ".pub"
	vars["GATEHOUSE_OTHER_SITE"] = s.otherSite()
	if pem, err := os.ReadFile(s.vendorKey()); err == nil {
		vars["GATEHOUSE_SIGNING_KEY"] = string(pem)
	}
	return vars
}

// licenseSteps show the license of this deployment, and how one is signed.
func (s *Stage) licenseSteps() []Step {
	boss := `-H "Authorization: Bearer $(token -u ` + clientAdmin + ":" + s.secret + `)"`
	host := strings.TrimPrefix(s.otherSite(), "http://")
	signed := filepath.Join(s.Dir, "signed.json")
	program, err := os.Executable()
	if err != nil {
		program = "caddy"
	}
	const asJSON = `-H "Content-Type: application/json"`
	const ask = `'{"license_type":"enterprise","allowed_hosts":["*.acme.example"],"description":"Acme Corp","expire_at":"8640h"}'`
	return []Step{
		{
			"license", "the license in force, from a file: it names this host",
			s.curl("", `-H "Authorization: Bearer $TOKEN"`, "/api/orgs/license"),
		},
		{
			"other host", "403 license_host: the same gateway under a name that the license does not cover",
			s.curl("-i", `-H "Host: `+host+`"`, "/"),
		},
		{
			"sign", "a license signed over the API, by a member of the signing group",
			s.curl("", boss, asJSON, "-d "+ask, "/api/orgs/license/sign") + " | tee " + quoted(signed),
		},
		{
			"verify", "the command verifies it with the public key alone",
			quoted(program) + " gatehouse verify --trusted-key " + quoted(s.vendorKey()+".pub") + " --host gw.acme.example " + quoted(signed),
		},
		{
			"may not sign", "403: robot is in no group that may sign",
			s.curl("-i", `-H "Authorization: Bearer $TOKEN"`, asJSON, "-d "+ask, "/api/orgs/license/sign"),
		},
	}
}

// quoted is a path as a POSIX shell reads it.
func quoted(path string) string {
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
