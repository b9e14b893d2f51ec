//go:build netbsd || solaris

package vfs

import "golang.org/x/sys/unix"

func volumeFree(dir string) (free, total int64, err error) {
	var st unix.Statvfs_t
	if err := unix.Statvfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return bytesOf(st.Bavail, st.Frsize), bytesOf(st.Blocks, st.Frsize), nil
}

func volumeFiles(dir string) (free, total int64, err error) {
	var st unix.Statvfs_t
	if err := unix.Statvfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return bytesOf(st.Favail, int64(1)), bytesOf(st.Files, int64(1)), nil
}
