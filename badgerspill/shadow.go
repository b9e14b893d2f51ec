package badgerspill

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/scratch"
)

// shadow lets Badger open a directory read-only in which the interlock lies, without a change to
// that directory: a temporary directory of symbolic links to Badger's files. The locks are on the
// real one; see host.DirLocks.
type shadow struct {
	dir *scratch.Dir
}

// openShadow opens Badger by way of a shadow.
func (db *DB) openShadow(opt badger.Options) (err error) {
	if sys := db.opt.system(); !sys.locks && !opt.BypassLockGuard {
		return fmt.Errorf("badgerspill: read-only with commits in the spill: on %s nothing keeps writers out of %s meanwhile; "+
			"open it for writing once, or set BypassLockGuard if nobody writes", sys.name, opt.Dir)
	}
	s := &shadow{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	if s.dir, err = scratch.Make("badgerspill-readonly-"); err != nil {
		return fmt.Errorf("badgerspill: read-only with commits in the spill needs a temporary directory, for links to Badger's files, "+
			"and none can be made in %s: %w; set TMPDIR to a directory that this process can write to, or open the database for writing", os.TempDir(), err)
	}
	if opt.Dir, err = s.link(opt.Dir, "dir"); err != nil {
		return err
	}
	if opt.ValueDir == db.opt.Dir {
		opt.ValueDir = opt.Dir
	} else if opt.ValueDir, err = s.link(opt.ValueDir, "values"); err != nil {
		return err
	}
	if err := db.openInner(opt.WithBypassLockGuard(true)); err != nil {
		return err
	}
	db.shadow = s
	return nil
}

// link makes a directory of links to the files in dir.
func (s *shadow) link(dir, name string) (string, error) {
	dir, err := resolve(dir)
	if err != nil {
		return "", err
	}
	to := filepath.Join(s.dir.Path(), name)
	if err := os.Mkdir(to, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		switch {
		case e.IsDir(), e.Name() == marker.InterlockName:
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
	if s == nil || s.dir == nil {
		return nil
	}
	return s.dir.Remove()
}
