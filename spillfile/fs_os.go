package spillfile

import (
	"errors"
	"io/fs"
	"os"
)

type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (f osFile) Sync() error {
	if err := datasync(f.File); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := openNoFollow(name, flag, perm)
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
	return osFile{f}, nil
}

var (
	errSymlink    = errors.New("this is a symbolic link, which is not followed here; remove it, or put the file back in its place")
	errNotRegular = errors.New("this is not a regular file")
)

// openNoFollow opens what name itself is, and does not wait for the other end of a pipe.
func openNoFollow(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if noFollow == 0 { // the system has no such flag
		if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errSymlink}
		}
	}
	f, err := os.OpenFile(name, flag|noFollow|nonBlock, perm)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return f, err
	}
	if info, lerr := os.Lstat(name); lerr == nil && info.Mode()&fs.ModeSymlink != 0 { // systems differ in what they call that
		err = &fs.PathError{Op: "open", Path: name, Err: errSymlink}
	}
	return nil, err
}

func (osFS) Remove(name string) error                  { return os.Remove(name) }
func (osFS) Rename(oldname, newname string) error      { return os.Rename(oldname, newname) }
func (osFS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }
func (osFS) Stat(name string) (fs.FileInfo, error)     { return os.Lstat(name) }

func (osFS) MkdirAll(dir string, perm fs.FileMode) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, perm); err != nil {
		return err
	}
	return os.Chmod(dir, perm)
}
