package command

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// process runs the command in a process of its own, as people do.
func process(t *testing.T, stdin string, env []string, args ...string) (result, int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self, append([]string{"gatehouse"}, args...)...)
	cmd.Env = append(append(os.Environ(), asCaddy+"=1", tokenVariable+"="), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), err}, cmd.ProcessState.ExitCode()
}

// TestProcess goes the whole way through Caddy's main, with real streams and
// exit statuses.
func TestProcess(t *testing.T) {
	key := filepath.Join(t.TempDir(), "vendor.key")
	made, status := process(t, "", nil, "keygen", "--out", key)
	if status != 0 || !strings.Contains(made.stdout, key+".pub") || !strings.Contains(made.stderr, "RSA only") {
		t.Fatalf("keygen: %d %+v", status, made)
	}
	if again, status := process(t, "", nil, "keygen", "--out", key); status != 1 || again.stdout != "" || !strings.HasPrefix(again.stderr, "Error: ") {
		t.Errorf("keygen again: %d %+v", status, again)
	}
	signed, status := process(t, "", nil, "sign", "--key", key, "--type", "oss", "--allowed-hosts", "gw.example", "--description", "All", "--expire-at", "1h")
	if status != 0 || signed.stderr != "" {
		t.Fatalf("sign: %d %+v", status, signed)
	}
	if verified, status := process(t, signed.stdout, nil, "verify", "--trusted-key", key+".pub", "-"); status != 0 || !strings.Contains(verified.stdout, "valid") {
		t.Errorf("verify: %d %+v", status, verified)
	}
	if refused, status := process(t, signed.stdout, nil, "verify", "--trusted-key", key+".pub", "--host", "other.example", "-"); status != 1 || refused.stdout != "" {
		t.Errorf("verify for another host: %d %+v", status, refused)
	}
	if shown, status := process(t, signed.stdout, nil, "inspect", "-"); status != 0 || !strings.Contains(shown.stdout, "gw.example") {
		t.Errorf("inspect: %d %+v", status, shown)
	}
	for _, args := range [][]string{{"frobnicate"}, {"sign"}, {"keygen", "--frob"}, {"inspect", "no-such-file"}, {"keys", "frobnicate"}} {
		if r, status := process(t, "", nil, args...); status != 1 || r.stdout != "" || !strings.HasPrefix(r.stderr, "Error: ") {
			t.Errorf("%v: %d %+v", args, status, r)
		}
	}
	if help, status := process(t, "", nil, "--help"); status != 0 || !strings.Contains(help.stdout, "service-account") {
		t.Errorf("help: %d %+v", status, help)
	}
}

func TestProcessAsksTheServer(t *testing.T) {
	g, _ := newSite(t)
	g.people()
	address := []string{"--address", g.address()}
	env := []string{tokenVariable + "=" + goodToken}
	if r, status := process(t, "", env, append(address, "service-account", "disable", "ci-deploy")...); status != 0 || !strings.Contains(r.stdout, "inactive") {
		t.Errorf("flags before the command: %d %+v", status, r)
	}
	if r, status := process(t, "", env, append([]string{"service-account", "enable", "ci-deploy"}, address...)...); status != 0 || !strings.Contains(r.stdout, "Status   active") {
		t.Errorf("enable: %d %+v", status, r)
	}
	if r, status := process(t, "", nil, append([]string{"service-account", "list"}, address...)...); status != 1 || !strings.Contains(r.stderr, "HTTP 401") {
		t.Errorf("without a token: %d %+v", status, r)
	}
	// Caddy's own environment variable says where the admin endpoint is.
	if r, status := process(t, "", append(env, "CADDY_ADMIN="+g.address()), "keys"); status != 0 || !strings.Contains(r.stdout, "acme") {
		t.Errorf("by CADDY_ADMIN: %d %+v", status, r)
	}
	g.says("POST /api/tokens/explain", answer{status: http.StatusOK, body: someExplanation})
	if r, status := process(t, "aaaa.bbbb.cccc\n", env, append([]string{"token", "explain"}, address...)...); status != 0 || !strings.Contains(r.stdout, "another audience") {
		t.Errorf("explain: %d %+v", status, r)
	}
	lines := `{"subject":"new","status":"active"}` + "\n" + `{"subject":"off","status":"active"}`
	if r, status := process(t, lines, env, append([]string{"service-account", "import", "-"}, address...)...); status != 1 || !strings.Contains(r.stdout, "line 2       refused    off") {
		t.Errorf("import: %d %+v", status, r)
	}
}
