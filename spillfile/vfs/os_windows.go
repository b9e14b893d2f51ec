package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	win "golang.org/x/sys/windows"
)

// There is no syncDir: the system has no such call, and NTFS journals names on its own.
var thisSystem = calls{
	datasync: (*os.File).Sync,
	chmod:    chmod,
	free:     volumeFree,
	files:    func(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported },
	lock:     lock,
}

// noDescriptor is the error of a process that can open no more files.
var noDescriptor = []error{win.ERROR_TOO_MANY_OPEN_FILES}

func lock(_ *osFS, name string, shared bool) (io.Closer, error) {
	path, err := win.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	access, share, create := uint32(win.GENERIC_READ|win.GENERIC_WRITE), uint32(0), uint32(win.OPEN_ALWAYS)
	if shared {
		access, share, create = win.GENERIC_READ, win.FILE_SHARE_READ, win.OPEN_EXISTING
	}
	h, err := win.CreateFile(path, access, share, nil, create, win.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, win.ERROR_SHARING_VIOLATION):
		return nil, &LockedError{Path: name}
	case err != nil:
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

func volumeFree(dir string) (free, total int64, err error) {
	path, err := win.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var avail, size, all uint64
	if err := win.GetDiskFreeSpaceEx(path, &avail, &size, &all); err != nil {
		return 0, 0, err
	}
	return int64(min(avail, math.MaxInt64)), int64(min(size, math.MaxInt64)), nil
}
