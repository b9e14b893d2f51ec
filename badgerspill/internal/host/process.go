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

// DescriptorsFree reports whether n more files could be open, as far as opening the directory
// tells.
func DescriptorsFree(dir string, n int) bool {
	files := make([]*os.File, 0, n)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for range n {
		f, err := os.Open(dir)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return false
		}
		if err != nil {
			return true // for another reason, which is others' to tell
		}
		files = append(files, f)
	}
	return true
}
