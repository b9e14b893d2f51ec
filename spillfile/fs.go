package spillfile

import (
	"io"
	"io/fs"
)

// FS is every way in which this package touches a file system, so that a test can fail any of them.
// Implementations are safe for concurrent use.
type FS interface {
	// OpenFile is os.OpenFile, but it opens nothing that is not a regular file, and follows no
	// symbolic link in the last element of name: who may put a name into the directory must not
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
