package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// FS is every way in which the spill touches a file system, so that a test can fail any of them.
// Implementations are safe for concurrent use. All calls may block for the disk.
type FS interface {
	// OpenFile is os.OpenFile, but it opens nothing that is not a regular file, and follows no
	// symbolic link in the last element of name. Who may put a name into the directory must not
	// choose what is read or written.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Remove is os.Remove.
	Remove(name string) error
	// Rename replaces newname atomically.
	Rename(oldname, newname string) error
	// ReadDir is os.ReadDir: sorted by name.
	ReadDir(dir string) ([]fs.DirEntry, error)
	// MkdirAll creates dir and its parents, and gives dir exactly the mode perm if it created it.
	MkdirAll(dir string, perm fs.FileMode) error
	// Stat is os.Lstat.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the creations, renames and removals in dir durable before it returns, where the
	// system and its file system have a call for that (docs/guarantees.md, Systems).
	SyncDir(dir string) error
	// Lock takes the lock file name, without waiting, until the Closer is closed. A lock held by
	// somebody else is an error that matches ErrLocked. A shared lock creates nothing; its error is
	// fs.ErrNotExist if the file is missing. It follows no symbolic link, as OpenFile.
	Lock(name string, shared bool) (io.Closer, error)
	// Free returns the bytes available to this user and the size of the volume that holds dir.
	// Where that is not known the error matches errors.ErrUnsupported, and the volume counts as
	// unlimited.
	Free(dir string) (free, total int64, err error)
	// FreeFiles returns how many more files the volume that holds dir has room for: its free
	// inodes. Where that is not known, or there is no such bound, the error matches
	// errors.ErrUnsupported, and it counts as unlimited.
	FreeFiles(dir string) (free int64, err error)
}

// File is an open file of an FS. ReadAt, WriteAt and Sync may be called concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes everything written before the call durable: fdatasync where the system has it.
	Sync() error
	// Truncate makes the file size bytes long.
	Truncate(size int64) error
	// Size returns the length in bytes.
	Size() (int64, error)
	// Chmod sets the permissions. Where there are none it does nothing.
	Chmod(mode fs.FileMode) error
}

// OS is the FS of the operating system.
var OS FS = &osFS{thisSystem}

// ErrLocked means that another process, or another holder in this one, has the lock. Every
// *LockedError matches it.
var ErrLocked = errors.New("directory is in use")

// LockedError names a lock that somebody else holds. It matches ErrLocked.
type LockedError struct {
	Path string // of what is locked
	// the process that wrote its number into the file and holds it for writing; 0 if none is known
	PID int
}

// Error names the path and the process.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%v: %s", ErrLocked, e.Path)
	}
	return fmt.Sprintf("%v by process %d: %s", ErrLocked, e.PID, e.Path)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Sign writes the number of this process into a lock that FS.Lock has returned, for others to name
// it, where the system's locks can be signed. It is of no other use, so that it fails is not told.
func Sign(lock io.Closer) {
	if l, ok := lock.(interface{ sign() }); ok {
		l.sign()
	}
}

// OutOfFiles says whether an error is that the process, or the system, has no file descriptor left.
// That says nothing about the file.
func OutOfFiles(err error) bool {
	for _, none := range noDescriptor {
		if errors.Is(err, none) {
			return true
		}
	}
	return false
}
