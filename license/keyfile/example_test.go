package keyfile_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// A vendor makes a key once, and loads it to sign.
func Example() {
	dir, err := os.MkdirTemp("", "keyfile")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // A folder of the example's own.
	path := filepath.Join(dir, "vendor.key")

	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	if err := keyfile.Create(path, key); err != nil {
		log.Fatal(err)
	}
	loaded, err := keyfile.Load(path, "")
	if err != nil {
		log.Fatal(err)
	}
	signer, err := license.NewSigner(license.SignerConfig{Key: loaded})
	if err != nil {
		log.Fatal(err)
	}
	id, err := license.KeyID(key.Public())
	fmt.Println(signer.KeyID() == id, err)
	// Output: true <nil>
}
