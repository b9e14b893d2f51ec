//go:build unix && !linux

package spillfile

import "os"

func datasync(f *os.File) error { return f.Sync() }
