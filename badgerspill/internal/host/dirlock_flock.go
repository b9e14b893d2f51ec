//go:build unix && !aix

package host

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	systemLocks = true
	pidFiles    = true
	lockIsFile  = false
)

// lockDir locks a directory as Badger does (dir_unix.go). If it was removed since it was opened the
// error is os.ErrNotExist.
func lockDir(dir string, shared bool) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open directory %q err: %w", dir, err)
	}
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	for {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err == nil {
		if ours, err := f.Stat(); err == nil {
			there, err := os.Stat(dir)
			if err != nil || !os.SameFile(ours, there) {
				_ = f.Close()
				return nil, fmt.Errorf("cannot open directory %q err: %w", dir, os.ErrNotExist)
			}
		}
		return f, nil
	}
	_ = f.Close()
	if err == unix.EWOULDBLOCK {
		return nil, &LockedError{Dir: dir, PID: LockHolder(dir), Err: err}
	}
	return nil, fmt.Errorf("%s %q err: %w", cannotLock, dir, &os.PathError{Op: "flock", Path: dir, Err: err})
}
