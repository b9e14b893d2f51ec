//go:build unix

package badgerspill

import (
	"io/fs"
	"syscall"
)

// volumeOf returns what tells the volume of a file from all others.
func volumeOf(info fs.FileInfo) (uint64, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(st.Dev), true
}

// allocated returns the bytes that a file, which may have holes, takes on disk.
func allocated(info fs.FileInfo) int64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.Size()
	}
	return int64(st.Blocks) * 512
}
