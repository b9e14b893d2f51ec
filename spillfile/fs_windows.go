package spillfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	sys "golang.org/x/sys/windows"
)

const noFollow, nonBlock = 0, 0

// SyncDir does nothing: the system has no such call, and NTFS journals names on its own.
func (osFS) SyncDir(string) error { return nil }

func (osFS) Lock(name string, shared bool) (io.Closer, error) {
	path, err := sys.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	access, share, create := uint32(sys.GENERIC_READ|sys.GENERIC_WRITE), uint32(0), uint32(sys.OPEN_ALWAYS)
	if shared {
		access, share, create = sys.GENERIC_READ, sys.FILE_SHARE_READ, sys.OPEN_EXISTING
	}
	h, err := sys.CreateFile(path, access, share, nil, create, sys.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, sys.ERROR_SHARING_VIOLATION):
		return nil, fmt.Errorf("%w: %s", ErrLocked, name)
	case err != nil:
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

func (osFS) Free(dir string) (free, total int64, err error) {
	path, err := sys.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var avail, size, all uint64
	if err := sys.GetDiskFreeSpaceEx(path, &avail, &size, &all); err != nil {
		return 0, 0, &fs.PathError{Op: "free", Path: dir, Err: err}
	}
	return int64(avail), int64(size), nil
}
