//go:build linux || darwin || freebsd

package workspace

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// volumeOf returns the size of the volume that holds dir and how much of it may still be written,
// in bytes; ok is false if the platform does not tell.
func volumeOf(dir string) (v volume, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return volume{}, false
	}
	block := int64(st.Bsize)
	return volume{size: int64(st.Blocks) * block, free: int64(st.Bavail) * block}, true
}

// Usage returns the bytes allocated below dir. Badger's logs are sparse, so their length says
// nothing. Files that vanish meanwhile do not count.
func Usage(dir string) int64 {
	sum := int64(0)
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			sum += int64(st.Blocks) * 512
		}
		return nil
	})
	return sum
}
