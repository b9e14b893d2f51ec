package vfs

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// syncDir is nil: the system refuses to sync what is not open for writing, and a directory cannot
// be.
var syncDir func(*os.File) error

var locks lockTable

// lock is a lock of fcntl, which belongs to the process: the table keeps the process from taking it
// twice, and from losing it by closing the file elsewhere.
func lock(o *osFS, name string, shared bool) (io.Closer, error) {
	return locks.take(name, shared, func() (io.Closer, error) {
		f, err := o.openLock(name, shared)
		if err != nil {
			return nil, err
		}
		how := int16(unix.F_WRLCK)
		if shared {
			how = unix.F_RDLCK
		}
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: how})
		switch {
		case err == nil && shared:
			return f, nil
		case err == nil:
			return &writeLock{File: f}, nil
		}
		defer f.Close()
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAGAIN) {
			return nil, &LockedError{Path: name, PID: readPID(f)}
		}
		return nil, &os.PathError{Op: "fcntl", Path: name, Err: err}
	})
}
