package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVerifyRefusals(t *testing.T) {
	s := newShell(t)
	key := s.vendorKey() + ".pub"
	other := filepath.Join(t.TempDir(), "other.key")
	s.must("keygen", "--out", other)
	good := s.license()
	path := s.file("license.json", good, 0o600)
	for name, c := range map[string]struct {
		at   time.Time
		text string
		args []string
		code string
		says string
	}{
		"expired":        {noon.AddDate(1, 0, 1), good, nil, "license_expired", "2027-06-01"},
		"not yet":        {noon.AddDate(0, 0, -1), good, nil, "license_not_yet_valid", "not valid before"},
		"other host":     {noon, good, []string{"--host", "acme.example"}, "license_host", "does not cover"},
		"other key":      {noon, good, []string{"--trusted-key", other + ".pub"}, "license_invalid", "key"},
		"changed":        {noon, strings.Replace(good, "Acme Corp", "Acme Ltd.", 1), nil, "license_invalid", "signature"},
		"no JSON":        {noon, "hello", nil, "license_invalid", ""},
		"empty":          {noon, "", nil, "license_invalid", ""},
		"member twice":   {noon, strings.Replace(good, "{", `{"key_id":"",`, 1), nil, "license_invalid", "key_id"},
		"unknown member": {noon, strings.Replace(good, "{", `{"hacked\u001b[31m":1,`, 1), nil, "license_invalid", "hacked"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t).at(c.at).typed(c.text)
			trusted := c.args
			if name != "other key" {
				trusted = append([]string{"--trusted-key", key}, trusted...)
			}
			r := s.fails([]string{c.code + ": ", c.says}, append([]string{"verify", "-"}, trusted...)...)
			if strings.Contains(r.stderr, "\x1b") {
				t.Errorf("stderr holds an escape: %q", r.stderr)
			}
			s.typed(c.text)
			r = s.run(append([]string{"verify", "--json", "-"}, trusted...)...)
			var got struct {
				Valid bool   `json:"is_valid"`
				Code  string `json:"code"`
				State string `json:"state"`
				Host  *bool  `json:"host_covered"`
			}
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Valid || got.Code != c.code || r.err == nil {
				t.Errorf("--json: %v %+v %v", r.err, got, err)
			}
			if other := name == "other host"; other != (got.Host != nil) || other && (*got.Host || got.State != "valid") {
				t.Errorf("--json: %s, want it to tell the host from the license", r.stdout)
			}
		})
	}
	s.must("verify", "--trusted-key", other+".pub", "--trusted-key", key, path)
}

func TestVerifyBadInput(t *testing.T) {
	s := newShell(t)
	private := s.vendorKey()
	path := s.file("license.json", s.license(), 0o600)
	secret, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	big := s.file("big.json", strings.Repeat(" ", 64<<10)+"{}", 0o600)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"private key":    {[]string{"--trusted-key", private, path}, "private"},
		"no PEM":         {[]string{"--trusted-key", path, path}, "reading the trusted key"},
		"no key file":    {[]string{"--trusted-key", "no-such-file", path}, "no-such-file"},
		"no key":         {[]string{path}, `required flag(s) "trusted-key" not set`},
		"key twice":      {[]string{"--trusted-key", private + ".pub", "--trusted-key", private + ".pub", path}, "twice"},
		"no license":     {[]string{"--trusted-key", private + ".pub", "no-such-license"}, "no-such-license"},
		"a folder":       {[]string{"--trusted-key", private + ".pub", t.TempDir()}, "directory"},
		"large":          {[]string{"--trusted-key", private + ".pub", big}, "more than 65536 bytes"},
		"empty host":     {[]string{"--trusted-key", private + ".pub", "--host", "", path}, "--host is empty"},
		"key as license": {[]string{"--trusted-key", private + ".pub", private}, "license_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.fails([]string{c.want}, append([]string{"verify"}, c.args...)...)
			if strings.Contains(r.stderr, strings.Split(string(secret), "\n")[1]) {
				t.Errorf("the private key is shown: %s", r.stderr)
			}
		})
	}
}

func TestInspectBadInput(t *testing.T) {
	s := newShell(t)
	for text, want := range map[string]string{"": "stdin is no license", "[]": "no license", `{"key_id":1}`: "key_id", strings.Repeat("x", 70000): "more than"} {
		s.typed(text).fails([]string{want}, "inspect", "-")
	}
	s.fails([]string{"no-such-file"}, "inspect", "no-such-file")
}

// TestHostileTexts shows what a license says without letting it speak to the
// terminal.
func TestHostileTexts(t *testing.T) {
	s := newShell(t)
	evil := "Acme \u202egnp.exe \U000e0041"
	text := s.license("--issuer", evil)
	for _, args := range [][]string{{"inspect", "-"}, {"inspect", "--json", "-"}} {
		out := s.typed(text).must(args...).stdout
		for _, bad := range []string{"\u202e", "\U000e0041"} {
			if strings.Contains(out, bad) {
				t.Errorf("%v shows %q: %q", args, bad, out)
			}
		}
		if !strings.Contains(out, `\u202egnp.exe`) {
			t.Errorf("%v does not show the escape: %s", args, out)
		}
	}
	var got struct {
		Payload struct{ Issuer string } `json:"payload"`
	}
	if err := json.Unmarshal([]byte(s.typed(text).must("inspect", "--json", "-").stdout), &got); err != nil || got.Payload.Issuer != evil {
		t.Errorf("the JSON says %q; want %q (%v)", got.Payload.Issuer, evil, err)
	}
}
