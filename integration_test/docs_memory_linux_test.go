package integration_test

import (
	"os"
	"syscall"
)

// peakMemory returns the resident memory of a process that has ended, at its peak, in bytes.
func peakMemory(s *os.ProcessState) int64 {
	if u, ok := s.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss << 10
	}
	return 0
}
