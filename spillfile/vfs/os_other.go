//go:build !unix && !windows

package vfs

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Systems without memory-mapped files, on which Badger, and so a database, works in memory only.
var thisSystem = calls{
	datasync: (*os.File).Sync,
	syncDir:  (*os.File).Sync,
	chmod:    chmod,
	free:     func(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported },
	files:    func(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported },
	lock:     lock,
}

// noDescriptor is the error of a process that can open no more files.
var noDescriptor = []error{syscall.EMFILE}

var locks lockTable

// lock keeps out who is in this process, and nobody else.
func lock(o *osFS, name string, shared bool) (io.Closer, error) {
	return locks.take(name, shared, func() (io.Closer, error) {
		flag := os.O_RDWR | os.O_CREATE
		if shared {
			flag = os.O_RDONLY
		}
		return o.openNoFollow(name, flag, 0o600)
	})
}
