package badgerspill

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
)

// shadow lets Badger open a directory read-only in which the interlock lies, without a change to that directory: a
// temporary directory of symbolic links to Badger's files. Badger's lock is taken on the real one.
type shadow struct {
	dir   string
	locks []io.Closer
}

// openShadow opens Badger by way of a shadow.
func (db *DB) openShadow(opt badger.Options) (err error) {
	s := &shadow{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "badgerspill-readonly-"); err != nil {
		return fmt.Errorf("badgerspill: read-only with commits in the spill: %w", err)
	}
	if opt.Dir, err = s.link(opt.Dir, "dir", opt.BypassLockGuard); err != nil {
		return err
	}
	if opt.ValueDir == db.opt.Dir {
		opt.ValueDir = opt.Dir
	} else if opt.ValueDir, err = s.link(opt.ValueDir, "values", opt.BypassLockGuard); err != nil {
		return err
	}
	if err := db.openInner(opt.WithBypassLockGuard(true)); err != nil {
		return err
	}
	db.shadow = s
	return nil
}

// link makes a directory of links to the files in dir.
func (s *shadow) link(dir, name string, bypassLock bool) (string, error) {
	dir, err := resolve(dir)
	if err != nil {
		return "", err
	}
	if !bypassLock {
		lock, err := spillfile.OS.Lock(dir, true) // as Badger's: shared with other readers
		if err != nil {
			return "", fmt.Errorf("badgerspill: another process is writing to the database: %w", err)
		}
		s.locks = append(s.locks, lock)
	}
	to := filepath.Join(s.dir, name)
	if err := os.Mkdir(to, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		switch {
		case e.IsDir(), e.Name() == interlockName:
		case e.Name() == "DISCARD": // Badger opens it for writing: it gets a new one
		default:
			if err := os.Symlink(filepath.Join(dir, e.Name()), filepath.Join(to, e.Name())); err != nil {
				return "", err
			}
		}
	}
	return to, nil
}

// remove ends a shadow, after Badger was closed. It may be called on nil.
func (s *shadow) remove() error {
	if s == nil {
		return nil
	}
	var errs []error
	for _, l := range s.locks {
		errs = append(errs, l.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir)) // removes links, not what they name
	}
	return errors.Join(errs...)
}
