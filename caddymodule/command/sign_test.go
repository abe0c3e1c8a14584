package command

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// TestRoundTrip makes a key of each type, signs, verifies and inspects.
func TestRoundTrip(t *testing.T) {
	for kind, version := range map[string]string{"ed25519": "2", "rsa": "1", "ecdsa": "2"} {
		t.Run(kind, func(t *testing.T) {
			s := newShell(t)
			dir := t.TempDir()
			key := filepath.Join(dir, "vendor.key")

			made := s.must("keygen", "--type", kind, "--out", key)
			for _, part := range []string{kind, key, key + ".pub", "Key ID"} {
				if !strings.Contains(made.stdout, part) {
					t.Errorf("keygen does not tell %q:\n%s", part, made.stdout)
				}
			}
			if hint := strings.Contains(made.stderr, "RSA only"); hint != (kind != "rsa") {
				t.Errorf("keygen's hint about hoop: %v in %q", hint, made.stderr)
			}
			signed := s.must("sign", "--key", key, "--type", "enterprise", "--allowed-hosts", "gw.acme.example, *.apps.acme.example",
				"--description", "Acme Corp", "--expire-at", "8640h", "--features", "sso,audit")
			path := s.file("license.json", signed.stdout, 0o600)

			verified := s.must("verify", "--trusted-key", key+".pub", "--host", "a.b.apps.acme.example:8443", path)
			for _, part := range []string{"valid", "Acme Corp", "gw.acme.example, *.apps.acme.example", "audit, sso", "in 360 days"} {
				if !strings.Contains(verified.stdout, part) {
					t.Errorf("verify does not tell %q:\n%s", part, verified.stdout)
				}
			}
			inspected := s.typed(signed.stdout).must("inspect", "-")
			if !strings.Contains(inspected.stdout, "Version      "+version+"\n") {
				t.Errorf("inspect does not tell the version %s:\n%s", version, inspected.stdout)
			}
			if !strings.Contains(inspected.stderr, "not checked") {
				t.Errorf("inspect does not warn: %q", inspected.stderr)
			}
		})
	}
}

func TestKeygenWritesTwoFilesOnce(t *testing.T) {
	s := newShell(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "vendor.key")
	var made struct {
		Type    string `json:"type"`
		KeyID   string `json:"key_id"`
		Private string `json:"private_key"`
		Public  string `json:"public_key"`
	}
	out := s.must("keygen", "--out", key, "--json").stdout
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err)
	}
	if made.Type != "ed25519" || len(made.KeyID) != 64 || made.Private != key || made.Public != key+".pub" {
		t.Errorf("got %+v", made)
	}
	info, err := os.Stat(key)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v; want mode 0600", info, err)
	}
	before, _ := os.ReadFile(key)
	s.fails([]string{"never overwritten"}, "keygen", "--out", key)
	if after, _ := os.ReadFile(key); string(after) != string(before) {
		t.Error("the key was overwritten")
	}
	text, _ := os.ReadFile(key)
	if strings.Contains(out, strings.Split(string(text), "\n")[1]) {
		t.Error("the private key is shown")
	}
}

// TestKeygenEncrypts makes a key that only its passphrase opens.
func TestKeygenEncrypts(t *testing.T) {
	s := newShell(t)
	key := filepath.Join(t.TempDir(), "vendor.key")
	pass := s.file("pass", "open sesame\n", 0o600)
	if made := s.must("keygen", "--out", key, "--passphrase-file", pass); strings.Contains(made.stdout+made.stderr, "sesame") {
		t.Errorf("the passphrase is shown: %+v", made)
	}
	if text, err := os.ReadFile(key); err != nil || !strings.HasPrefix(string(text), "-----BEGIN AGE ENCRYPTED FILE-----") {
		t.Errorf("%v: the key is %.40q", err, text)
	}
	if r := s.signWith("--key", key); r.err == nil || r.stdout != "" {
		t.Errorf("signed without the passphrase: %+v", r)
	}
	signed := s.signWith("--key", key, "--passphrase-file", pass)
	if signed.err != nil {
		t.Fatal(signed.err)
	}
	s.must("verify", "--trusted-key", key+".pub", s.file("license.json", signed.stdout, 0o600))
	s.fails([]string{"the passphrase is empty"}, "keygen", "--out", key+"2", "--passphrase-file", s.file("empty", "\n", 0o600))
	if _, err := os.Stat(key + "2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key was written without a passphrase: %v", err)
	}
}

// TestKeygenRefusals also wants that nothing is left behind.
func TestKeygenRefusals(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken+".pub", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"type":         {[]string{"--type", "dsa", "--out", filepath.Join(dir, "a")}, `"dsa" is not made here; want ed25519, rsa or ecdsa`},
		"empty type":   {[]string{"--type", "", "--out", filepath.Join(dir, "a")}, "--type is empty"},
		"no file":      {nil, `required flag(s) "out" not set`},
		"empty file":   {[]string{"--out", ""}, "--out is empty"},
		"no folder":    {[]string{"--out", filepath.Join(dir, "none", "a")}, "none"},
		"public there": {[]string{"--out", taken}, "never overwritten"},
	} {
		t.Run(name, func(t *testing.T) {
			newShell(t).fails([]string{c.want}, append([]string{"keygen"}, c.args...)...)
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 1 {
				t.Errorf("files left behind: %v %v", left, err)
			}
		})
	}
}

func TestGoldenOffline(t *testing.T) {
	s := newShell(t)
	key := s.vendorKey()
	signed := s.license("--features", "sso,audit", "--grace", "14d", "--limits", "seats=50,agents=3", "--environment", "production",
		"--issuer", "Example Vendor", "--not-before", "2026-06-02")
	golden(t, "sign", signed)
	path := s.file("license.json", signed, 0o600)

	s.at(noon.AddDate(0, 0, 2))
	golden(t, "verify", s.must("verify", "--trusted-key", key+".pub", "--host", "gw.acme.example", path).stdout)
	golden(t, "verify.json", s.must("verify", "--trusted-key", key+".pub", "--json", path).stdout)
	golden(t, "inspect", s.must("inspect", path).stdout)
	golden(t, "inspect.json", s.must("inspect", "--json", path).stdout)
}

func TestSignOnOneLine(t *testing.T) {
	s := newShell(t)
	long, short := s.license(), s.license("--json")
	if strings.Count(short, "\n") != 1 || !strings.HasSuffix(short, "}\n") {
		t.Errorf("--json prints %q; want one line", short)
	}
	if a, b := decodeLicense(t, long), decodeLicense(t, short); a.Signature != b.Signature {
		t.Errorf("the licenses differ: %s and %s", a.Signature, b.Signature)
	}
}

func TestSignMeansWhatFlagsSay(t *testing.T) {
	s := newShell(t)
	for name, c := range map[string]struct {
		args  []string
		holds func(p *license.Payload) bool
	}{
		"every feature":  {nil, func(p *license.Payload) bool { return p.Features == nil }},
		"no feature":     {[]string{"--features", ""}, func(p *license.Payload) bool { return p.Features != nil && len(p.Features) == 0 }},
		"features twice": {[]string{"--features", "b, a", "--features", "c"}, func(p *license.Payload) bool { return strings.Join(p.Features, "") == "abc" }},
		"grace of none":  {[]string{"--grace", "0"}, func(p *license.Payload) bool { return p.Grace != nil && *p.Grace == 0 }},
		"no grace":       {nil, func(p *license.Payload) bool { return p.Grace == nil }},
		"in days": {nil, func(p *license.Payload) bool {
			return p.ExpireAt == noon.AddDate(0, 0, 365).Unix() && p.IssuedAt == noon.Add(-time.Hour).Unix()
		}},
		"until a day": {[]string{"--expire-at", "2027-01-31"}, func(p *license.Payload) bool {
			return p.ExpireAt == time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC).Unix()
		}},
		"hosts": {[]string{"--allowed-hosts", "third.example"}, func(p *license.Payload) bool { return len(p.AllowedHosts) == 3 }},
		"later": {[]string{"--not-before", "36h"}, func(p *license.Payload) bool {
			return *p.NotBefore == noon.Add(36*time.Hour).Unix()
		}},
		"a moment": {[]string{"--not-before", "2026-07-01T02:00:00+02:00"}, func(p *license.Payload) bool {
			return *p.NotBefore == time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC).Unix()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := decodeLicense(t, s.license(c.args...))
			if !c.holds(&l.Payload) {
				t.Errorf("got %+v", l.Payload)
			}
		})
	}
}

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
		{"--expire-at", "2020-01-31", "expire_at: is 2020-01-31; want a day or a time that is ahead"},
		{"--expire-at", "2500-01-31", "expire_at: is 2500-01-31; want a day or a time that is ahead, by 290 years"},
		{"--expire-at", "2030-13-01", `expire_at: is "2030-13-01"; want a duration such as "8760h" or "365d", a day such as 2030-01-31`},
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
