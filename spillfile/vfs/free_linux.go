package vfs

import "golang.org/x/sys/unix"

// volumeFree counts in fragments, as statvfs does: file systems in user space may have blocks of
// another size.
func volumeFree(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize)
	}
	return bytesOf(st.Bavail, unit), bytesOf(st.Blocks, unit), nil
}

func volumeFiles(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return bytesOf(st.Ffree, int64(1)), bytesOf(st.Files, int64(1)), nil
}
