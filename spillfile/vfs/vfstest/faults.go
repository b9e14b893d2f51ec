package vfstest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Fault is asked before an operation on a path. Its error is that of the operation, which does not
// happen then; a *Torn one says that a part of a write does. Operations are named
//
//	open, create (OpenFile with os.O_CREATE), remove, rename (of the new name), readdir, mkdir,
//	stat, syncdir, lock; of files: read, write, sync, truncate, size, chmod
type Fault func(op, path string) error

// ask asks, with the operation and the path in the error.
func (f Fault) ask(op, path string) error {
	if f == nil {
		return nil
	}
	if err := f(op, path); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// Torn is the error of a write of which a part happens.
type Torn struct {
	Err  error           // why the write fails
	Keep func(n int) int // how many of n bytes are written
}

// Error returns the text of Err.
func (t *Torn) Error() string { return t.Err.Error() }

// Unwrap returns Err.
func (t *Torn) Unwrap() error { return t.Err }

func opening(flag int) string {
	if flag&os.O_CREATE != 0 {
		return "create"
	}
	return "open"
}

// Faults is another file system, about whose operations a Fault is asked, by several goroutines at
// once. It may block, and use the file system. All methods are safe for concurrent use if it is.
type Faults struct {
	vfs.FS
	fault atomic.Pointer[Fault]
}

// NewFaults returns a file system that asks fault; nil for nothing yet.
func NewFaults(fsys vfs.FS, fault Fault) *Faults {
	f := &Faults{FS: fsys}
	f.Set(fault)
	return f
}

// Set sets what is asked from now on, nil for nothing.
func (f *Faults) Set(fault Fault) { f.fault.Store(&fault) }

// Fault returns what is asked, nil for nothing.
func (f *Faults) Fault() Fault {
	if fault := f.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

// OpenFile asks about "create" with os.O_CREATE, else about "open".
func (f *Faults) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := f.Fault().ask(opening(flag), name); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultsFile{file, f, name}, nil
}

// Remove asks about "remove".
func (f *Faults) Remove(name string) error {
	if err := f.Fault().ask("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// Rename asks about "rename" of the new name.
func (f *Faults) Rename(from, to string) error {
	if err := f.Fault().ask("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// ReadDir asks about "readdir".
func (f *Faults) ReadDir(dir string) ([]fs.DirEntry, error) {
	if err := f.Fault().ask("readdir", dir); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(dir)
}

// MkdirAll asks about "mkdir".
func (f *Faults) MkdirAll(dir string, perm fs.FileMode) error {
	if err := f.Fault().ask("mkdir", dir); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir, perm)
}

// Stat asks about "stat".
func (f *Faults) Stat(name string) (fs.FileInfo, error) {
	if err := f.Fault().ask("stat", name); err != nil {
		return nil, err
	}
	return f.FS.Stat(name)
}

// SyncDir asks about "syncdir".
func (f *Faults) SyncDir(dir string) error {
	if err := f.Fault().ask("syncdir", dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

// Lock asks about "lock".
func (f *Faults) Lock(name string, shared bool) (io.Closer, error) {
	if err := f.Fault().ask("lock", name); err != nil {
		return nil, err
	}
	return f.FS.Lock(name, shared)
}

type faultsFile struct {
	vfs.File
	faults *Faults
	name   string
}

func (f *faultsFile) ask(op string) error { return f.faults.Fault().ask(op, f.name) }

func (f *faultsFile) ReadAt(b []byte, at int64) (int, error) {
	if err := f.ask("read"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, at)
}

func (f *faultsFile) WriteAt(b []byte, at int64) (int, error) {
	err := f.ask("write")
	if err == nil {
		return f.File.WriteAt(b, at)
	}
	n := 0
	if torn := new(Torn); errors.As(err, &torn) {
		var werr error
		if n, werr = f.File.WriteAt(b[:torn.Keep(len(b))], at); werr != nil {
			err = werr
		}
	}
	return n, err
}

func (f *faultsFile) Sync() error {
	if err := f.ask("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultsFile) Truncate(size int64) error {
	if err := f.ask("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultsFile) Size() (int64, error) {
	if err := f.ask("size"); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultsFile) Chmod(mode fs.FileMode) error {
	if err := f.ask("chmod"); err != nil {
		return err
	}
	return f.File.Chmod(mode)
}
