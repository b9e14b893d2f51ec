package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/badgerspill/internal/scratch"
)

// Shadow lets Badger open directories read-only in which the interlock lies, without a change to
// them: a temporary directory of symbolic links to Badger's files. The locks are on the real ones;
// see [DirLocks].
type Shadow struct {
	dir *scratch.Dir
}

// NewShadow makes a shadow of the directories of opt, and returns the options to open it with.
// After an error nothing is left of it.
func NewShadow(opt badger.Options) (_ *Shadow, _ badger.Options, err error) {
	s := &Shadow{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Remove())
		}
	}()
	if s.dir, err = scratch.Make("badgerspill-readonly-"); err != nil {
		return nil, opt, fmt.Errorf("badgerspill: read-only with commits in the spill needs a temporary directory, for links to Badger's files, "+
			"and none can be made in %s: %w; set TMPDIR to a directory that this process can write to, or open the database for writing", os.TempDir(), err)
	}
	same := opt.ValueDir == opt.Dir
	if opt.Dir, err = s.link(opt.Dir, "dir"); err != nil {
		return nil, opt, err
	}
	if same {
		opt.ValueDir = opt.Dir
	} else if opt.ValueDir, err = s.link(opt.ValueDir, "values"); err != nil {
		return nil, opt, err
	}
	return s, opt.WithBypassLockGuard(true), nil
}

// link makes a directory of links to the files in dir.
func (s *Shadow) link(dir, name string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
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

// Remove removes the links, after Badger was closed.
func (s *Shadow) Remove() error {
	if s == nil || s.dir == nil {
		return nil
	}
	return s.dir.Remove()
}
