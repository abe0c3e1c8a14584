package demo

import (
	"fmt"
	"os"
	"path/filepath"
)

// exampleName is the file that the demo loads.
const exampleName = "Caddyfile.example"

// FindExample looks for Caddyfile.example in dir and the folders above it. It is
// read from the checkout, not built in, so that an edit shows at once.
func FindExample(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, exampleName)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no %s in %s or above it: run the demo inside the checkout, or name the file with --config", exampleName, dir)
		}
	}
}
