package host

import (
	"errors"
	"fmt"
	"io"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/windows"
)

const (
	systemLocks = true
	pidFiles    = false // LOCK itself is the lock
	lockIsFile  = true
)

// lockDir locks a directory as Badger does (dir_windows.go): it holds a file open that nobody else
// can open meanwhile, and that goes with the handle.
func lockDir(dir string, shared bool) (io.Closer, error) {
	if shared {
		return nil, badger.ErrWindowsNotSupported
	}
	path, err := windows.UTF16PtrFromString(lockPath(dir))
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(path, 0, 0, nil, windows.OPEN_ALWAYS,
		windows.FILE_ATTRIBUTE_TEMPORARY|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	switch {
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION), errors.Is(err, windows.ERROR_ACCESS_DENIED):
		// the latter while it goes
		return nil, &LockedError{Dir: dir, Err: err}
	case err != nil:
		return nil, fmt.Errorf("%s %q err: %w", cannotOpen, lockPath(dir), err)
	}
	return lockHandle(h), nil
}

type lockHandle windows.Handle

func (h lockHandle) Close() error { return windows.CloseHandle(windows.Handle(h)) }
