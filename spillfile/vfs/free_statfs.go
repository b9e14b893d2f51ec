//go:build aix || darwin || dragonfly || freebsd

package vfs

import "golang.org/x/sys/unix"

func volumeFree(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return bytesOf(st.Bavail, st.Bsize), bytesOf(st.Blocks, st.Bsize), nil
}

func volumeFiles(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return bytesOf(st.Ffree, int64(1)), bytesOf(st.Files, int64(1)), nil
}
