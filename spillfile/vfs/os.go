package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/bits"
	"os"
	"syscall"
)

// osFS is the FS of the operating system. What systems differ in is in calls.
type osFS struct{ sys calls }

// calls are those that not every system, or not every file system, answers. A test gives answers of
// its own. thisSystem has those of the system that the package is built for.
type calls struct {
	// noFollow and nonBlock are flags of OpenFile; 0 where there is none.
	noFollow, nonBlock int
	// datasync makes what was written to a file durable.
	datasync func(f *os.File) error
	// syncDir makes the names in a directory durable; nil where there is no such call.
	syncDir func(dir *os.File) error
	// chmod sets the mode of a file, or of what name is if there is none.
	chmod func(name string, f *os.File, mode fs.FileMode) error
	// free returns the room of the volume that holds dir. A system that does not tell returns an
	// error that matches errors.ErrUnsupported.
	free func(dir string) (free, total int64, err error)
	// files returns the inodes of that volume, free and in all; none in all where the file system
	// tells none.
	files func(dir string) (free, total int64, err error)
	// lock is FS.Lock. It may write down whose the lock is.
	lock func(o *osFS, name string, shared bool) (io.Closer, error)
}

type osFile struct {
	*os.File
	sys *calls
}

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (f osFile) Sync() error {
	if err := f.sys.datasync(f.File); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Chmod(mode fs.FileMode) error { return f.sys.mode(f.Name(), f.File, mode) }

// mode sets a mode where there are modes: a file system without them is mounted for whom it is for.
func (c *calls) mode(name string, f *os.File, mode fs.FileMode) error {
	if err := c.chmod(name, f, mode); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

func chmod(name string, f *os.File, mode fs.FileMode) error {
	if f == nil {
		return os.Chmod(name, mode)
	}
	return f.Chmod(mode)
}

func (o *osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := o.openNoFollow(name, flag, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f, &o.sys}, nil
}

var (
	errSymlink    = errors.New("this is a symbolic link, which is not followed here; remove it, or put the file back in its place")
	errNotRegular = errors.New("this is not a regular file")
)

// openNoFollow opens what name itself is, and does not wait for the other end of a pipe.
func (o *osFS) openNoFollow(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if o.sys.noFollow == 0 { // the system has no such flag
		if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errSymlink}
		}
	}
	f, err := os.OpenFile(name, flag|o.sys.noFollow|o.sys.nonBlock, perm)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return f, err
	}
	// systems differ in what they call that
	if info, lerr := os.Lstat(name); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = &fs.PathError{Op: "open", Path: name, Err: errSymlink}
	}
	return nil, err
}

func (o *osFS) Remove(name string) error                  { return os.Remove(name) }
func (o *osFS) Rename(oldname, newname string) error      { return os.Rename(oldname, newname) }
func (o *osFS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }
func (o *osFS) Stat(name string) (fs.FileInfo, error)     { return os.Lstat(name) }

func (o *osFS) MkdirAll(dir string, perm fs.FileMode) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, perm); err != nil {
		return err
	}
	return o.sys.mode(dir, nil, perm)
}

// SyncDir takes a refusal for done: the file system has no such call then, and what it does for
// names it does on its own.
func (o *osFS) SyncDir(dir string) error {
	if o.sys.syncDir == nil {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = o.sys.syncDir(d)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// Free treats a volume of no size as one that does not tell: such are pseudo file systems, and
// those in memory without a limit.
func (o *osFS) Free(dir string) (free, total int64, err error) {
	free, total, err = o.sys.free(dir)
	if err == nil && total <= 0 {
		err = fmt.Errorf("a volume of %d bytes: %w", total, errors.ErrUnsupported)
	}
	if err != nil {
		return 0, 0, &fs.PathError{Op: "free space", Path: dir, Err: err}
	}
	return free, total, nil
}

// FreeFiles treats a volume without inodes as one that makes them as it needs them.
func (o *osFS) FreeFiles(dir string) (free int64, err error) {
	free, total, err := o.sys.files(dir)
	if err == nil && total <= 0 {
		err = fmt.Errorf("a volume of %d inodes: %w", total, errors.ErrUnsupported)
	}
	if err != nil {
		return 0, &fs.PathError{Op: "free inodes", Path: dir, Err: err}
	}
	return max(0, free), nil
}

func (o *osFS) Lock(name string, shared bool) (io.Closer, error) { return o.sys.lock(o, name, shared) }

// bytesOf returns how many bytes some blocks are, at most the largest int64. Systems tell negative
// numbers of what is free when only root may write.
func bytesOf[N, U int32 | uint32 | int64 | uint64](blocks N, unit U) int64 {
	if blocks <= 0 || unit <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(blocks), uint64(unit))
	if hi > 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo)
}
