// Package machine is what a fair measurement needs of the operating system:
// processes on one core each, and how much processor time and memory a process
// has used.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Memory is the resident memory of a process, in bytes (VmRSS of
// /proc/PID/status).
func Memory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	return parseMemory(status)
}

func parseMemory(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		value, found := bytes.CutPrefix(line, []byte("VmRSS:"))
		if !found {
			continue
		}
		fields := strings.Fields(string(value))
		if len(fields) != 2 || fields[1] != "kB" {
			return 0, fmt.Errorf("VmRSS: found %q, expected a number of kB", strings.TrimSpace(string(value)))
		}
		kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
		return kilobytes << 10, err
	}
	return 0, fmt.Errorf("no VmRSS among %d bytes of a process's status", len(status))
}

// Describe names the machine for a report: processor, cores, system, Go.
func Describe() string {
	model := runtime.GOARCH
	info, _ := os.ReadFile("/proc/cpuinfo") // without it the architecture must do
	flags := ""
	for line := range strings.Lines(string(info)) {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			flags = " without SHA instructions"
			if strings.Contains(value, "sha_ni") {
				flags = " with SHA instructions"
			}
		}
	}
	return fmt.Sprintf("%s%s, %d cores, %s/%s, %s", model, flags, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// Load is the machine's load average of the last minute, "" where unknown: more
// than the two busy cores of a measurement means that others are at work.
func Load() string {
	average, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(average), " ")
	return first
}
