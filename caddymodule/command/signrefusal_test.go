package command

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"filippo.io/age"
)

// TestSignRefusals goes through everything that a request to sign can get
// wrong; the words are those of the API.
func TestSignRefusals(t *testing.T) {
	s := newShell(t)
	key := s.vendorKey()
	good := map[string]string{
		"--key": key, "--type": "enterprise", "--allowed-hosts": "gw.acme.example", "--description": "Acme Corp", "--expire-at": "365d",
	}
	for _, c := range []struct{ flag, value, want string }{
		{"--type", "platinum", "license_type"},
		{"--type", "", "license_type"},
		{"--allowed-hosts", "", "allowed_hosts"},
		{"--allowed-hosts", "a.example,,b.example", "allowed_hosts[1]"},
		{"--allowed-hosts", "*.co.uk", "allowed_hosts[0]"},
		{"--allowed-hosts", "https://a.example", "allowed_hosts[0]"},
		{"--allowed-hosts", "a.*.example", "allowed_hosts[0]"},
		{"--allowed-hosts", strings.Repeat("a.example,", 256) + "a.example", "allowed_hosts"},
		{"--description", "A", "description"},
		{"--description", strings.Repeat("x", 201), "description"},
		{"--expire-at", "", "expire_at"},
		{"--expire-at", "0s", "expire_at"},
		{"--expire-at", "-5h", "expire_at"},
		{"--expire-at", "tomorrow", "expire_at"},
		{"--expire-at", "200000000000d", "expire_at"},
		{"--features", "Not A Feature", "features"},
		{"--version", "3", "version: is 3"},
		{"--version", "0", "version: is 0"},
		{"--version", "1", "the key, which is not RSA"},
		{"--version", "two", "--version"},
		{"--id", "not-a-uuid", "id: "},
		{"--not-before", "someday", "not_before: found"},
		{"--not-before", "9000d", "not_before"},
		{"--grace", "a while", "grace: is"},
		{"--grace", "-1h", "grace"},
		{"--limits", "seats", "limits: found"},
		{"--limits", "seats=many", "limits: found"},
		{"--limits", "seats=1,seats=2", "given twice"},
		{"--limits", "seats=9999999999999999", "limits"},
		{"--issuer", strings.Repeat("x", 201), "issuer"},
		{"--environment", strings.Repeat("x", 101), "environment"},
		{"--key", "no-such-file", "no-such-file"},
		{"--key", key + ".pub", "a public key; want the private one"},
		{"--key", "", "reading the private key"},
		{"--key-env", "VENDOR_KEY", "[key key-env]"},
		{"--passphrase-file", "no-such-file", "reading the passphrase"},
	} {
		t.Run(c.flag+" "+c.value[:min(20, len(c.value))], func(t *testing.T) {
			args := []string{"sign", c.flag, c.value}
			for flag, value := range good {
				if flag != c.flag {
					args = append(args, flag, value)
				}
			}
			s.fails([]string{c.want}, args...)
		})
	}
	s.fails([]string{`"allowed-hosts", "description", "expire-at", "type"`}, "sign", "--key", key)
	s.fails([]string{"key", "key-env"}, "sign", "--type", "oss", "--allowed-hosts", "*", "--description", "All", "--expire-at", "1h")
}

func (s *shell) signWith(args ...string) result {
	return s.run(append([]string{
		"sign", "--type", "oss", "--allowed-hosts", "*", "--description", "All", "--expire-at", "24h",
	}, args...)...)
}

func TestSignReadsTheKeyFromTheEnvironment(t *testing.T) {
	s := newShell(t)
	text, err := os.ReadFile(s.vendorKey())
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PEM": string(text), "base64": base64.StdEncoding.EncodeToString(text), "with an organization": "acme," + base64.StdEncoding.EncodeToString(text),
	} {
		s.env["VENDOR_KEY"] = value
		if r := s.signWith("--key-env", "VENDOR_KEY"); r.err != nil {
			t.Errorf("%s: %v", name, r.err)
		}
	}
	for value, want := range map[string]string{"": "is not set", "nonsense": "reading the private key of the environment variable"} {
		s.env["VENDOR_KEY"] = value
		r := s.signWith("--key-env", "VENDOR_KEY")
		if r.err == nil || !strings.Contains(r.stderr, want) || r.stdout != "" || value != "" && strings.Contains(r.stderr, value) {
			t.Errorf("%q: %v, stdout %q", value, r.err, r.stdout)
		}
	}
}

// TestSignOpensAgeFiles takes the passphrase from a file, the environment and a
// person.
func TestSignOpensAgeFiles(t *testing.T) {
	s := newShell(t)
	key := s.file("vendor.age", encrypted(t, s.vendorKey(), "open sesame"), 0o600)
	pass := s.file("pass", "open sesame\n", 0o600)

	if r := s.signWith("--key", key, "--passphrase-file", pass); r.err != nil || r.stderr != "" {
		t.Errorf("from a file: %v %s", r.err, r.stderr)
	}
	r := s.signWith("--key", key)
	if r.err == nil || !strings.Contains(r.stderr, "--passphrase-file or GATEHOUSE_PASSPHRASE") {
		t.Errorf("without: %v", r.err)
	}
	asked := 0
	s.program.terminal = func(any) bool { return true }
	s.program.secret = func(any) ([]byte, error) { asked++; return []byte("open sesame"), nil }
	if r := s.signWith("--key", key); r.err != nil || asked != 1 || !strings.Contains(r.stderr, "Passphrase") {
		t.Errorf("asked %d times: %v", asked, r.err)
	}
	s.program.secret = func(any) ([]byte, error) { return nil, errors.New("hung up") }
	if r := s.signWith("--key", key); r.err == nil || !strings.Contains(r.stderr, "hung up") {
		t.Errorf("nobody answers: %v", r.err)
	}
	s.env[passphraseVariable] = "open sesame"
	if r := s.signWith("--key", key); r.err != nil {
		t.Errorf("from the environment: %v", r.err)
	}
	s.env[passphraseVariable] = "wrong words"
	r = s.signWith("--key", key)
	if r.err == nil || r.stdout != "" || strings.Contains(r.stderr, "wrong words") {
		t.Errorf("with a wrong one: %v, stdout %q", r.err, r.stdout)
	}
}

func TestSecretFilesOthersMayRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	s := newShell(t)
	key := s.file("vendor.age", encrypted(t, s.vendorKey(), "open sesame"), 0o600)
	pass := s.file("pass", "open sesame", 0o644)
	if r := s.signWith("--key", key, "--passphrase-file", pass); r.err != nil || !strings.Contains(r.stderr, "warning: "+pass+" has the mode 0644") {
		t.Errorf("no warning: %v %q", r.err, r.stderr)
	}
	text, err := os.ReadFile(s.vendorKey())
	if err != nil {
		t.Fatal(err)
	}
	open := s.file("open.key", string(text), 0o644)
	r := s.signWith("--key", open)
	if r.err == nil || !strings.Contains(r.stderr, "chmod 600") {
		t.Errorf("a key that others may read: %v", r.err)
	}
	if secret := strings.Split(string(text), "\n")[1]; strings.Contains(r.stderr, secret) {
		t.Error("the error shows the key")
	}
}

func encrypted(t *testing.T, path, passphrase string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(8)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
