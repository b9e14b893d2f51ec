//go:build unix || windows

package host

import (
	"errors"
	"os"
	"syscall"
)

// runs reports whether a process of that number runs.
func runs(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}
