package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/gatehouse-proxy/gatehouse/internal/demo"
)

// running starts stage and gateway as the command does.
func running(t *testing.T) *demo.Stage {
	t.Helper()
	file, err := demo.FindExample(".")
	if err != nil {
		t.Fatal(err)
	}
	return runningFrom(t, file)
}

// runningFrom is running with a Caddyfile of the test's own.
func runningFrom(t *testing.T, file string) *demo.Stage {
	t.Helper()
	stage, err := demo.New(demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stage.Close(); err != nil {
			t.Error(err)
		}
	})
	stop, err := demo.Serve(t.Context(), stage, file, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stage
}

// outputs says, by step, what a line must print (and, with a "!" before it, must
// not).
var outputs = map[string][]string{
	"token":        {"eyJ"},
	"let in":       {"HTTP/1.1 200", "X-Auth-Subject", `"robot"`, `"service_account"`, "!Authorization", "!eyJ"},
	"spoofed":      {`"robot"`, "!root"},
	"unregistered": {"HTTP/1.1 401", `error="invalid_token"`, "the service account is not registered"},
	"register":     {"HTTP/1.1 201", `"subject":"rover"`, `"status":"active"`, `"groups":["operators"]`},
	"userinfo":     {"HTTP/1.1 200", `"subject":"rover"`, `"kind":"service_account"`, `"groups":["operators"]`, `"is_admin":false`},
	"registered":   {"HTTP/1.1 200", `"operators"`},
	"switch off":   {"HTTP/1.1 200", `"status":"inactive"`},
	"switched off": {"HTTP/1.1 401", "the service account is switched off"},
	"no token":     {"HTTP/1.1 401", `Bearer realm="gateway"`, "resource_metadata=", "!error=", "Cache-Control: no-store", `"message"`},
	"malformed":    {"HTTP/1.1 400", `error="invalid_request"`},
	"forged":       {"HTTP/1.1 401", `error="invalid_token"`, "signature"},
	"expired":      {"HTTP/1.1 401", `error="invalid_token"`, "expired"},
	"bound":        {"HTTP/1.1 401", `Bearer realm="gateway", error="invalid_token"`, "bound to a key", `DPoP realm="gateway"`, `algs="`},
	"audience":     {"HTTP/1.1 401", `error="invalid_token"`, "audience"},
	"scope":        {"HTTP/1.1 403", `error="insufficient_scope"`, `scope="gateway.read"`},
	"group":        {"HTTP/1.1 403", "none of the groups"},
	"admin":        {"HTTP/1.1 200", `"boss"`},
	"grpc":         {"HTTP/2 200", "grpc-status: 16", "content-type: application/grpc", "!message\":"},
	"preflight":    {"HTTP/1.1 200", `"OPTIONS"`, "!X-Auth"},
	"query":        {"data: tick 1", "data: tick 3"},
	"open":         {"HTTP/1.1 200", "!X-Auth-Subject", "!root"},
	"metadata":     {`"authorization_servers":["http://127.0.0.1:`, `"scopes_supported":["gateway.read"]`},

	"license":      {`"state":"valid"`, `"verified_host":"127.0.0.1"`, `"description":"the demo"`},
	"other host":   {"HTTP/1.1 403", `"code":"license_host"`, "does not cover the host"},
	"sign":         {`"key_id"`, `"*.acme.example"`, `"signature"`},
	"verify":       {"Acme Corp"},
	"may not sign": {"HTTP/1.1 403", "none of the groups"},

	"sso url":    {"/authorize?client_id=license-users", "response_type=id_token%20token", "state="},
	"login page": {"HTTP/1.1 200", `<form method="post">`, `type="password"`},
	"log in":     {"/callback#", "access_token=eyJ", "id_token=eyJ", "state="},
	"revoke":     {"HTTP/1.1 201", `"subject":"guest"`, `"expires_at"`, "HTTP/1.1 401", "the token was revoked"},
	"logged in":  {"HTTP/1.1 200", `"guest"`, `"user"`, "!Authorization"},
	"id token":   {"HTTP/1.1 401", `error="invalid_token"`, "type"},

	"licensed login": {"eyJ"},
	"by command":     {"Written", "gw.acme.example", "!eyJ"},
	"activate":       {"HTTP/1.1 200", `"license_active":true`, `"allowed_hosts":["gw.acme.example","*.acme.example"]`, `"max_activations":50`},
	"seats":          {`"account":"acme-licensed"`, `"hardware_id":"laptop"`, `"subject":"guest"`},
}

// Where there is no openssl, the demo asks with a token.
func TestDemoWithoutOpenSSL(t *testing.T) {
	dir := t.TempDir()
	for _, tool := range []string{"sh", "curl", "sed"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Log("not run: the lines that the demo prints need sh, curl and sed")
			return
		}
		if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
	}
	stage := running(t)
	t.Setenv("PATH", dir)
	steps := stage.Steps()
	for _, step := range steps {
		if step.Name != "sso url" {
			continue
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", steps[0].Line+" >/dev/null; "+step.Line).CombinedOutput()
		if err != nil || strings.Contains(step.Line, "openssl") {
			t.Fatalf("%s: %v\n%s", step.Line, err, out)
		}
		expect(t, string(out), outputs[step.Name])
		return
	}
	t.Error("the demo does not ask where to log in")
}

func TestEveryPrintedLineDoesWhatItSays(t *testing.T) {
	sh, errShell := exec.LookPath("sh")
	_, errCurl := exec.LookPath("curl")
	if errShell != nil || errCurl != nil {
		t.Log("not run: the lines that the demo prints need sh and curl")
		return
	}
	stage := running(t)
	define := "" // what the lines so far keep for later ones
	for _, step := range stage.Steps() {
		t.Run(step.Name, func(t *testing.T) {
			line := define + step.Line
			if step.Keeps() {
				define += step.Line + " >/dev/null; "
			}
			out, err := exec.CommandContext(t.Context(), sh, "-c", line).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", step.Line, err, out)
			}
			expect(t, string(out), outputs[step.Name])
		})
	}
}

func expect(t *testing.T, out string, wants []string) {
	t.Helper()
	if len(wants) == 0 {
		t.Fatal("nothing is said about what this step prints")
	}
	for _, want := range wants {
		unwanted, not := strings.CutPrefix(want, "!")
		if strings.Contains(out, unwanted) == not {
			t.Errorf("printed (%q expected):\n%s", want, out)
		}
	}
}

// writer hands on what is written, until the reader has gone.
type writer chan string

func (w writer) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

func TestDemoEndsAndLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	t.Setenv("GATEHOUSE_SITE", "kept")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stdout := make(writer, 1)
	done := make(chan error, 1)
	var stderr bytes.Buffer
	began := time.Now()
	go func() { done <- runDemo(ctx, demoOptions{}, stdout, &stderr) }()
	select {
	case text := <-stdout:
		t.Logf("first answer after %s", time.Since(began).Round(time.Millisecond))
		if !strings.Contains(text, "curl -si") {
			t.Errorf("printed %q", text)
		}
	case err := <-done:
		t.Fatalf("ended before it printed: %v", err)
	}
	interrupt()
	if err := <-done; err != nil {
		t.Fatalf("ended with %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if got := os.Getenv("GATEHOUSE_SITE"); got != "kept" {
		t.Errorf("GATEHOUSE_SITE is %q afterwards", got)
	}
	if _, set := os.LookupEnv("GATEHOUSE_ISSUER"); set {
		t.Error("GATEHOUSE_ISSUER is set afterwards")
	}
}

func TestDemoSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(bad, []byte("{\n\tgatehouse {\n\t\tisuer x\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		o    demoOptions
		want []string
	}{
		{"port out of range", demoOptions{port: 70000}, []string{"--port", "70000", "65535"}},
		{"port taken", demoOptions{port: taken.Addr().(*net.TCPAddr).Port}, []string{"cannot be had", "--port"}},
		{"no such file", demoOptions{config: "none.Caddyfile"}, []string{"none.Caddyfile"}},
		{"bad file", demoOptions{config: bad}, []string{bad + ":3", "isuer"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := runDemo(t.Context(), tt.o, io.Discard, io.Discard)
			if err == nil {
				t.Fatal("it ran")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %q", err, want)
				}
			}
		})
	}
}

func TestDemoSaysThatCurlIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	stdout := make(writer, 1)
	done := make(chan error, 1)
	var stderr bytes.Buffer
	go func() { done <- runDemo(ctx, demoOptions{}, stdout, &stderr) }()
	select {
	case <-stdout:
	case err := <-done:
		t.Fatalf("ended before it printed: %v", err)
	}
	interrupt()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stderr.String(), "curl is not on the PATH") {
		t.Errorf("stderr: %q", stderr.String())
	}
}

// Without the demo's environment the example is a file to start from.
func TestExampleIsValidByItself(t *testing.T) {
	file, err := demo.FindExample(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(caddyfile.Format(text), text) {
		t.Error("caddy fmt would change Caddyfile.example")
	}
	t.Setenv("GATEHOUSE_SSO_API_KEY", "key") // secrets have no default
	t.Setenv("GATEHOUSE_SSO_SHARED_KEY", "shared")
	stage, err := demo.New(demo.Options{}) // nor has the key that licenses are believed from
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stage.Close() }()
	t.Setenv("GATEHOUSE_TRUSTED_KEY", stage.Environment()["GATEHOUSE_TRUSTED_KEY"])
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	adapted, warnings, err := adapter.Adapt(text, map[string]any{"filename": file})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("adapting: %v, warnings %v", err, warnings)
	}
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON(adapted, &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Errorf("validating: %v", err)
	}
}
