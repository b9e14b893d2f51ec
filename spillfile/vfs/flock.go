//go:build unix && !aix

package vfs

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// syncDir is fsync, which these systems take for directories.
func syncDir(dir *os.File) error { return dir.Sync() }

// lock is flock: it belongs to the open file, and goes with the process.
func lock(o *osFS, name string, shared bool) (io.Closer, error) {
	f, err := o.openLock(name, shared)
	if err != nil {
		return nil, err
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
	if err == nil && !named(f, name) { // its holder has removed it meanwhile: Log.Remove
		if err := f.Close(); err != nil {
			return nil, err
		}
		return lock(o, name, shared)
	}
	switch {
	case err == nil && shared:
		return f, nil
	case err == nil:
		return &writeLock{File: f}, nil
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &LockedError{Path: name, PID: readPID(f)}
	}
	return nil, &os.PathError{Op: "flock", Path: name, Err: err}
}

// named reports whether a file still has the name under which it was opened.
func named(f *os.File, name string) bool {
	ours, err := f.Stat()
	if err != nil {
		return true // it cannot be told
	}
	there, err := os.Lstat(name)
	return err == nil && os.SameFile(ours, there)
}
