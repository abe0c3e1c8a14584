//go:build !linux

package machine

import (
	"errors"
	"os/exec"
	"time"
)

// errLinux is what all that needs the Linux kernel answers elsewhere.
var errLinux = errors.New("measuring needs Linux: it binds processes to cores and reads their processor time from the kernel")

// CPUTime needs Linux.
func CPUTime(int) (time.Duration, error) { return 0, errLinux }

// PinSelf needs Linux.
func PinSelf(...int) error { return errLinux }

// StartOn needs Linux.
func StartOn(*exec.Cmd, ...int) error { return errLinux }
