package caddymodule_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// apartVariable names the test that this process runs for another one.
const apartVariable = "GATEHOUSE_TEST_APART"

// apart runs the test that calls it in a process of its own, beside others, and
// tells the caller to return. Caddy is one for a whole process, so tests that mostly
// wait (for a token to expire, a file to be looked at) would wait one after the
// other. Named with a subtest, a test runs where it is.
func apart(t *testing.T) bool {
	t.Helper()
	only := flag.Lookup("test.run").Value.String()
	if os.Getenv(apartVariable) == t.Name() || strings.Contains(only, "/") {
		return false
	}
	t.Parallel()
	ctx, cancel := t.Context(), context.CancelFunc(func() {})
	if end, ok := t.Deadline(); ok {
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Second))
	}
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	child.Env = append(os.Environ(), apartVariable+"="+t.Name())
	child.WaitDelay = time.Second
	output, err := child.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%s\n%v", output, err)
	case !strings.Contains(string(output), "--- PASS: "+t.Name()+" "):
		t.Errorf("%s\nit did not run", output)
	case testing.Verbose():
		t.Logf("%s", output)
	}
	return true
}

// waitBeside lets more tests than there are cores wait beside each other.
func waitBeside() error {
	return flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0))))
}
