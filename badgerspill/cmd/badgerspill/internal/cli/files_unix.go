//go:build unix

package cli

import (
	"io/fs"
	"syscall"
)

// diskBytes returns what a file takes on disk.
func diskBytes(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return fi.Size()
}
