//go:build aix || (!unix && !windows)

package host

import "io"

const (
	systemLocks = false
	pidFiles    = false
	lockIsFile  = false
)

// lockDir is not called: Badger takes its locks itself.
func lockDir(string, bool) (io.Closer, error) { panic("no lock of ours on this system") }
