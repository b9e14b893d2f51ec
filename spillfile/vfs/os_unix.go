//go:build unix

package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

var thisSystem = calls{
	noFollow: unix.O_NOFOLLOW,
	nonBlock: unix.O_NONBLOCK, // means nothing to regular files
	datasync: datasync,
	syncDir:  syncDir,
	chmod:    chmod,
	free:     volumeFree,
	files:    volumeFiles,
	lock:     lock,
}

// noDescriptor are the errors of a process, and of a system, that can open no more files.
var noDescriptor = []error{unix.EMFILE, unix.ENFILE}

// writeLock is a lock file that can be signed with the number of the process that holds it, for
// others to name it. That is of no other use: a full disk is no failure.
type writeLock struct {
	*os.File
	signed bool
}

func (l *writeLock) sign() {
	l.signed = true
	if err := l.Truncate(0); err == nil {
		_, _ = l.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
}

// Close takes the number away, for readers have none.
func (l *writeLock) Close() error {
	if l.signed {
		_ = l.Truncate(0)
	}
	return l.File.Close()
}

// readPID returns the number in a lock file, 0 if there is none or no such process.
func readPID(f *os.File) (pid int) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscanf(string(text), "%d\n", &pid); err != nil || pid <= 0 {
		return 0
	}
	if err := unix.Kill(pid, 0); err != nil && err != unix.EPERM {
		return 0
	}
	return pid
}

// openLock opens a lock file: a shared lock creates none.
func (o *osFS) openLock(name string, shared bool) (*os.File, error) {
	if shared {
		return o.openNoFollow(name, os.O_RDONLY, 0o600)
	}
	f, err := o.openNoFollow(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := o.sys.mode(name, f, 0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
