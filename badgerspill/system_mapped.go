//go:build unix || windows

package badgerspill

import (
	"errors"
	"os"
	"syscall"
)

const systemMaps = true

// descriptorsFree reports whether n more files could be open, as far as opening the directory
// tells.
func descriptorsFree(dir string, n int) bool {
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
