package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// TempSuffix is what the name of a file ends with, behind its own, until it is complete.
const TempSuffix = ".tmp"

// WriteFile makes or replaces a file of mode 0600, whole or not at all. It returns once the file
// and its name are durable. After an error the file may be the old one or the new one, and one with
// TempSuffix behind its name may be left, which the next WriteFile replaces.
//
// The order of steps: write a file beside it, sync that, rename it, sync the directory. A crash
// before the rename leaves the old file, whatever is in the other. A crash after it leaves the old
// or the new one, and the new one is complete: it was synced before it had the name.
func WriteFile(fsys FS, name string, data []byte) error {
	temp, err := CreateTemp(fsys, name)
	if err != nil {
		return err
	}
	return Replace(fsys, name, temp, data)
}

// CreateTemp makes the file that Replace will write for name: an empty one of mode 0600, whatever
// the umask, with TempSuffix behind its name. One that a crash has left, or somebody has put there,
// is removed first.
func CreateTemp(fsys FS, name string) (File, error) {
	temp := name + TempSuffix
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := fsys.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Replace is WriteFile through a file that CreateTemp has made for name, which it closes in any
// case.
func Replace(fsys FS, name string, temp File, data []byte) error {
	if err := Complete(temp, data); err != nil {
		return err
	}
	if err := fsys.Rename(name+TempSuffix, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// Complete writes a file from its beginning, syncs it, and closes it in any case. It is for who
// renames it himself.
func Complete(f File, data []byte) error {
	err := WriteAll(f, data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// WriteAll writes all of data at the beginning of a file, or returns an error.
func WriteAll(f File, data []byte) error {
	n, err := f.WriteAt(data, 0)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	return err
}
