package license_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/host"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// A vendor makes a key and signs a license; a deployment trusts the key's public
// half, opens the license and asks it at each request.
func Example() {
	// At the vendor's. The key would be kept in a file; see the package keyfile.
	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: key})
	if err != nil {
		log.Fatal(err)
	}
	signed, err := signer.Sign(license.Request{
		Type:         license.Enterprise,
		AllowedHosts: []string{"*.johnwick.org"},
		Description:  "Acme: production",
		TTL:          365 * 24 * time.Hour,
		Features:     []string{"runbooks"},
		Limits:       map[string]int64{"seats": 50},
	})
	if err != nil {
		log.Fatal(err)
	}
	file, err := signed.Encode()
	if err != nil {
		log.Fatal(err)
	}

	// At the deployment.
	keys, err := license.NewKeySet(license.TrustedKey{Key: signer.Public()})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := license.NewVerifier(license.Config{Keys: keys, Warn: 30 * 24 * time.Hour, Grace: 7 * 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	validity := verifier.Open(file)
	fmt.Println(validity.State())
	fmt.Println(validity.Check("api.johnwick.org:8443", "runbooks"))
	fmt.Println(validity.Check("johnwick.org"))
	fmt.Println(validity.Check("api.johnwick.org", "data-masking"))
	seats, limited := validity.Limit("seats")
	fmt.Println(seats.Most, limited)
	// Output:
	// valid
	// <nil>
	// the license does not cover the host of this request
	// the license does not grant the feature "data-masking"
	// 50 true
}

// The reason of a refusal is one of a closed set, and its code is what clients
// see.
func ExampleError() {
	verifier, err := license.NewVerifier(license.Config{})
	if err != nil {
		log.Fatal(err)
	}
	validity := verifier.Open([]byte(`{"key_id": "7f49", "payload": {}}`))
	var refusal *license.Error
	if errors.As(validity.Err(), &refusal) {
		fmt.Println(refusal.Code(), refusal.Reason)
		fmt.Println(refusal)
	}
	// Output:
	// license_invalid form
	// payload.type: is missing; a license must have it
}

// The state follows the clock by itself, from one call to the next.
func ExampleValidity_State() {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return clock }
	key, err := keyfile.Generate(keyfile.ECDSA)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: key, Now: now})
	if err != nil {
		log.Fatal(err)
	}
	signed, err := signer.Sign(license.Request{Type: license.OSS, AllowedHosts: []string{"*"}, Description: "Acme", TTL: 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	keys, err := license.NewKeySet(license.TrustedKey{Key: signer.Public()})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := license.NewVerifier(license.Config{Keys: keys, Warn: 2 * time.Hour, Grace: time.Hour, Now: now})
	if err != nil {
		log.Fatal(err)
	}
	validity := verifier.Verify(signed)
	for _, hours := range []time.Duration{0, 22, 24, 25} {
		clock = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(hours * time.Hour)
		fmt.Println(validity.Explain())
	}
	// Output:
	// valid the license is valid until 2026-01-02T00:00:00Z
	// expiring the license ends soon, on 2026-01-02T00:00:00Z
	// grace the license ended on 2026-01-02T00:00:00Z and is honored until 2026-01-02T01:00:00Z
	// expired the license ended on 2026-01-02T00:00:00Z
}

// A request that is refused names the member and says what would be right.
func ExampleSigner_Sign() {
	key, err := keyfile.Generate(keyfile.RSA)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: key, MaxTTL: 2 * 365 * 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	request := license.Request{Type: license.Enterprise, AllowedHosts: []string{"johnwick.org"}, Description: "Acme:prod", TTL: 8640 * time.Hour}
	_, err = signer.Sign(request)
	fmt.Println(err)

	request.Description, request.AllowedHosts = "Acme: prod", []string{"*.co.uk"}
	_, err = signer.Sign(request)
	fmt.Println(err)
	// Output:
	// description: holds ':' so that version 1 would read features in it; put a space after ':', or use version 2
	// allowed_hosts[0]: host pattern "*.co.uk": co.uk is a public suffix, under which anybody may hold a name; want a domain of the customer's own
}

// A site's address is compared with a license before any request comes.
func ExampleValidity_Hosts() {
	hosts, _ := host.Compile([]string{"*.johnwick.org"})
	for _, site := range []string{"api.johnwick.org", "*.eu.johnwick.org", "johnwick.org"} {
		pattern, err := host.Parse(site)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(site, hosts.Covers(pattern))
	}
	// Output:
	// api.johnwick.org true
	// *.eu.johnwick.org true
	// johnwick.org false
}
