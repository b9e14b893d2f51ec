package vfs

import "golang.org/x/sys/unix"

func volumeFree(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return bytesOf(st.F_bavail, st.F_bsize), bytesOf(st.F_blocks, st.F_bsize), nil
}

func volumeFiles(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return bytesOf(st.F_favail, int64(1)), bytesOf(st.F_files, int64(1)), nil
}
