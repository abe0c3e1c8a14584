package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestCPUTimeGrowsWithWork(t *testing.T) {
	before, err := CPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i := range 50_000_000 {
		sum += i ^ sum
	}
	after, err := CPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after <= before {
		t.Errorf("got %v after work (%d) and %v before it", after, sum, before)
	}
}

func TestCPUTimeOfNobody(t *testing.T) {
	if _, err := CPUTime(1 << 24); err == nil {
		t.Error("a process that cannot exist has used processor time")
	}
}

func TestStartOnBindsTheProcess(t *testing.T) {
	var out strings.Builder
	cmd := exec.Command("grep", "Cpus_allowed_list", "/proc/self/status")
	cmd.Stdout = &out
	if err := StartOn(cmd, 0); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(out.String()); len(got) != 2 || got[1] != "0" {
		t.Errorf("the process may run on %q, want core 0 only", out.String())
	}
}

func TestPinSelfBindsAllThreads(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Log("with one core there is nothing to choose")
	}
	all := make([]int, runtime.NumCPU())
	for i := range all {
		all[i] = i
	}
	t.Cleanup(func() {
		if err := PinSelf(all...); err != nil {
			t.Error(err)
		}
	})
	if err := PinSelf(0); err != nil {
		t.Fatal(err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("got %d threads and %v", len(tasks), err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err != nil {
			continue // it has ended
		}
		if !strings.Contains(string(status), "Cpus_allowed_list:\t0\n") {
			t.Errorf("%s: the thread may run on more than core 0", task)
		}
	}
}
