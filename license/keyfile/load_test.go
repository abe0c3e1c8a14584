package keyfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestLoad(t *testing.T) {
	key := generate(t, Ed25519)
	text := block(t, "PRIVATE KEY", key)
	for name, path := range map[string]string{
		"PEM":          write(t, text, 0o600),
		"read only":    write(t, text, 0o400),
		"base64":       write(t, encoded(text), 0o600),
		"age":          write(t, encrypt(t, text, passphrase, false, 10), 0o600),
		"organization": write(t, append([]byte("org,"), encoded(text)...), 0o600),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Load(path, passphrase)
			if err != nil {
				t.Fatal(err)
			}
			sameKey(t, got, key)
		})
	}
}

func TestLoadRefusesWhatOthersMayUse(t *testing.T) {
	text := block(t, "PRIVATE KEY", generate(t, Ed25519))
	for _, mode := range []os.FileMode{0o604, 0o644, 0o620, 0o602, 0o610, 0o666, 0o777} {
		path := write(t, text, mode)
		key, err := Load(path, "")
		if runtime.GOOS == "windows" {
			if err != nil {
				t.Errorf("mode %04o on Windows: %v", mode, err)
			}
			continue
		}
		if key != nil {
			t.Errorf("mode %04o: a key", mode)
		}
		wantError(t, err, "chmod 600 "+path, text)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nothing"), link); err != nil && runtime.GOOS != "windows" {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, want string
		is         error
	}{
		"not there":     {filepath.Join(dir, "none"), "reading the private key", fs.ErrNotExist},
		"broken link":   {link, "reading the private key", fs.ErrNotExist},
		"a folder":      {dir, "no regular file", nil},
		"a device":      {os.DevNull, "no regular file", nil},
		"empty":         {write(t, nil, 0o600), "is empty", nil},
		"too long":      {write(t, bytes.Repeat([]byte("a"), MaxSize+1), 0o600), "at most 65536", nil},
		"no key":        {write(t, []byte("words here"), 0o600), "vendor.key", nil},
		"no passphrase": {write(t, encrypt(t, []byte("x"), passphrase, false, 10), 0o600), "want its passphrase", ErrPassphrase},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := Load(c.path, "")
			wantError(t, err, c.want)
			if key != nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%T, %v; want %v", key, err, c.is)
			}
		})
	}
}
