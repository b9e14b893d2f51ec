package scratch

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/badgerspill/badgerspill/spillfile"
)

// lockName is a file in each directory. It is locked while the directory is in use: who can lock it
// has found one that was left.
const lockName = "IN-USE"

// Dir is a temporary directory.
type Dir struct {
	path string
	lock io.Closer
}

// Make makes a directory whose name begins with prefix, below os.TempDir, and removes those of that
// prefix that killed processes have left. Only a directory with a lock file that nobody holds is
// removed. It blocks for the disk.
func Make(prefix string) (*Dir, error) {
	sweep(prefix)
	for try := 1; ; try++ {
		path, err := os.MkdirTemp("", prefix)
		if err != nil {
			return nil, err
		}
		lock, err := spillfile.OS.Lock(filepath.Join(path, lockName), false)
		switch {
		case err == nil:
			return &Dir{path, lock}, nil
		case errors.Is(err, errors.ErrUnsupported): // nobody can tell that it is left
			return &Dir{path, nil}, nil
		case errors.Is(err, spillfile.ErrLocked) && try < 3: // somebody's sweep was between the two
			continue
		}
		return nil, errors.Join(err, os.RemoveAll(path))
	}
}

// Path returns where it is.
func (d *Dir) Path() string { return d.path }

// Keep leaves the directory for good: no sweep removes it.
func (d *Dir) Keep() error {
	err := os.Remove(filepath.Join(d.path, lockName))
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}

// Remove removes the directory and what is in it: links, not what they name.
func (d *Dir) Remove() error {
	var err error
	if d.lock != nil {
		err = d.lock.Close()
	}
	return errors.Join(err, os.RemoveAll(d.path))
}

// sweep removes what was left. What cannot be removed, or looked at, is somebody else's.
func sweep(prefix string) {
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return
	}
	for _, path := range paths {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			continue
		}
		lock, err := spillfile.OS.Lock(filepath.Join(path, lockName), true) // makes no file
		if err != nil {
			continue
		}
		_ = os.RemoveAll(path)
		_ = lock.Close()
	}
}
