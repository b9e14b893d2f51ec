//go:build !unix

package badgerspill

import "io/fs"

// volumeOf returns what tells the volume of a file from all others, if the system says.
func volumeOf(fs.FileInfo) (uint64, bool) { return 0, false }

// allocated returns the bytes that a file takes on disk, at most.
func allocated(info fs.FileInfo) int64 { return info.Size() }
