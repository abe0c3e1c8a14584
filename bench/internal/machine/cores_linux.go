package machine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime is the processor time that a process has used, user and system, of
// all its threads, those that have ended too. It is the account behind
// /proc/PID/stat, read in nanoseconds instead of ticks of 10 ms.
func CPUTime(pid int) (time.Duration, error) {
	const cpuClockSched = 2 // CPUCLOCK_SCHED: see clock_getcpuclockid(3)
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClockSched), &ts); err != nil {
		return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// PinSelf keeps this process, with all threads it has and will have, on some
// cores.
func PinSelf(cores ...int) error {
	bound := make(map[int]bool)
	// A thread that is not bound yet may make another one meanwhile.
	for before := -1; before < len(bound); {
		before = len(bound)
		if err := pinThreads(bound, cores); err != nil {
			return err
		}
	}
	return nil
}

// pinThreads binds the threads that are not among the bound ones.
func pinThreads(bound map[int]bool, cores []int) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("reading this process's threads: %w", err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return fmt.Errorf("thread %q: %w", task.Name(), err)
		}
		if bound[tid] {
			continue
		}
		bound[tid] = true
		// A thread may end meanwhile.
		if err := unix.SchedSetaffinity(tid, setOf(cores)); err != nil && err != unix.ESRCH {
			return fmt.Errorf("binding thread %d to cores %v: %w", tid, cores, err)
		}
	}
	return nil
}

// StartOn starts a command on some cores only: a process inherits them from the
// thread that makes it.
func StartOn(cmd *exec.Cmd, cores ...int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("reading this thread's cores: %w", err)
	}
	if err := unix.SchedSetaffinity(0, setOf(cores)); err != nil {
		return fmt.Errorf("binding to cores %v: %w", cores, err)
	}
	err := cmd.Start()
	if back := unix.SchedSetaffinity(0, &before); back != nil {
		return fmt.Errorf("going back to the cores before: %w", back)
	}
	return err
}

func setOf(cores []int) *unix.CPUSet {
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	return &set
}
