package engine

import (
	"os"
	"syscall"
)

// datasync makes what was written to the file durable, and of its metadata only what is needed to
// read it again.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
