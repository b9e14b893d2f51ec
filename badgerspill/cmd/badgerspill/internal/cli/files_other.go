//go:build !unix

package cli

import "io/fs"

// diskBytes returns the size of a file: what it takes on disk is not known here.
func diskBytes(fi fs.FileInfo) int64 { return fi.Size() }
