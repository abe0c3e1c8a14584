package keyfile

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// A key of each kind is written, read back, signs, and its public file verifies.
func TestCreate(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vendor.key")
			key := generate(t, kind)
			if err := Create(path, key); err != nil {
				t.Fatal(err)
			}
			loaded, err := Load(path, "")
			if err != nil {
				t.Fatal(err)
			}
			sameKey(t, loaded, key)
			checkModes(t, path)
			checkSigns(t, loaded, path+".pub")
		})
	}
}

func checkModes(t *testing.T, path string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func checkSigns(t *testing.T, key crypto.Signer, public string) {
	t.Helper()
	signer, err := license.NewSigner(license.SignerConfig{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	l, err := signer.Sign(license.Request{Type: license.OSS, AllowedHosts: []string{"*"}, Description: "Acme", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := license.ParsePublicKeys(text)
	if err != nil || len(trusted) != 1 {
		t.Fatalf("%d public keys, %v", len(trusted), err)
	}
	keys, err := license.NewKeySet(license.TrustedKey{Key: trusted[0]})
	if err != nil {
		t.Fatal(err)
	}
	v, err := license.NewVerifier(license.Config{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(l).Err(); err != nil {
		t.Error(err)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	for _, there := range []string{"vendor.key", "vendor.key.pub"} {
		t.Run(there, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, there), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Create(filepath.Join(dir, "vendor.key"), generate(t, Ed25519))
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("%v, want that the file is there", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("%v, %v; want only the file that was there", entries, err)
			}
			if data, err := os.ReadFile(filepath.Join(dir, there)); err != nil || string(data) != "mine" {
				t.Errorf("%q, %v; want it untouched", data, err)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	wantError(t, Create(filepath.Join(dir, "none", "vendor.key"), generate(t, Ed25519)), "writing the private key")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, Create(filepath.Join(dir, "vendor.key"), small), "1024 bits")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v; want nothing written", entries, err)
	}
}

func TestGenerate(t *testing.T) {
	for kind, want := range map[Kind]string{"": "ed25519.PrivateKey", Ed25519: "ed25519.PrivateKey", RSA: "*rsa.PrivateKey", ECDSA: "*ecdsa.PrivateKey"} {
		if got := fmt.Sprintf("%T", generate(t, kind)); got != want {
			t.Errorf("kind %q makes a %s, want a %s", kind, got, want)
		}
	}
	_, err := Generate("dsa")
	wantError(t, err, "want ed25519, rsa or ecdsa")
}

func TestIsPrivate(t *testing.T) {
	const me, mine, other = 1000, 2000, 3000
	for name, c := range map[string]struct {
		access
		want bool
	}{
		"the owner alone":                   {access{0o600, me, nil, []int{other}}, true},
		"root and a group of ours":          {access{0o440, 0, nil, []int{mine}}, true},
		"root writes":                       {access{0o640, 0, nil, []int{mine}}, true},
		"a list names us":                   {access{0o440, 0, []int{me}, nil}, true},
		"a list names somebody":             {access{0o440, 0, []int{me, other}, nil}, false},
		"a list names another group":        {access{0o440, 0, []int{me}, []int{mine, other}}, false},
		"another group":                     {access{0o440, 0, nil, []int{other}}, false},
		"our group, but we could change it": {access{0o440, me, nil, []int{mine}}, false},
		"somebody's":                        {access{0o440, other, nil, []int{mine}}, false},
		"the group writes":                  {access{0o460, 0, nil, []int{mine}}, false},
		"all read":                          {access{0o444, 0, nil, []int{mine}}, false},
	} {
		if got := c.isPrivate(me, []int{mine}); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// What Kubernetes and systemd hand out, as far as this process may make it.
func TestLoadFromRootAndAGroup(t *testing.T) {
	key := generate(t, Ed25519)
	path := write(t, block(t, "PRIVATE KEY", key), 0o440)
	got, err := Load(path, "")
	if os.Geteuid() != 0 {
		wantError(t, err, "others may use it")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, got, key)
	if err := os.Chown(path, 0, 54321); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path, "")
	wantError(t, err, "others may use it")
}

func TestByteOrderMarks(t *testing.T) {
	key := generate(t, Ed25519)
	text := block(t, "PRIVATE KEY", key)
	got, err := Parse(append([]byte("\ufeff"), text...), "")
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, got, key)
	_, err = Parse([]byte("\xff\xfe-\x00-\x00"), "")
	wantError(t, err, "UTF-16")
}
