package badgerspill

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/marker"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Words of Badger's errors, of which programs take notice. inUse is part of what it says of a
// directory that another process has, on every system.
const (
	inUse       = "Another process is using this Badger database"
	cannotLock  = "Cannot acquire directory lock on"
	cannotLook  = "Invalid Dir:"
	cannotMake  = "Error Creating Dir:"
	cannotNote  = "Cannot write pid file"
	cannotOpen  = "Cannot create lock file"
	cannotOpen9 = "Cannot open pid lock file"
)

// LockedError is the error of Open for a directory that is open already: in another process, or in
// another DB of this one. It matches ErrLocked. Its text begins with Badger's own for the system.
type LockedError struct {
	Dir string // the directory: that of Options.Dir, ValueDir or SpillDir
	PID int    // the process that has it open for writing; 0 if that is not known
	Err error  // what the system, Badger or package spillfile says
}

// Error returns the text.
func (e *LockedError) Error() string {
	text := e.Err.Error()
	if !strings.Contains(text, inUse) {
		text = lockedText(runtime.GOOS, e.Dir) + " err: " + text
	}
	switch e.PID {
	case 0:
		return text
	case os.Getpid():
		return text + "; it is open in process " + strconv.Itoa(e.PID) + ", which is this one"
	}
	return text + "; it is open in process " + strconv.Itoa(e.PID)
}

// Unwrap returns Err.
func (e *LockedError) Unwrap() error { return e.Err }

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// lockedText is what Badger says on a system of a directory that another process has. Programs
// search errors for it (dir_unix.go, dir_windows.go, dir_plan9.go and dir_aix.go of Badger).
func lockedText(goos, dir string) string {
	switch goos {
	case "windows":
		return fmt.Sprintf("%s %q.  %s", cannotOpen, lockPath(dir), inUse)
	case "plan9":
		return fmt.Sprintf("%s %q.  %s", cannotOpen9, lockPath(dir), inUse)
	}
	return fmt.Sprintf("%s %q.  %s.", cannotLock, dir, inUse)
}

// lockPath is the path of Badger's LOCK file, absolute: the program may change its directory.
func lockPath(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Join(dir, marker.LockName)
}

// dirLocks are Badger's own locks of Dir and ValueDir. The layer takes them before it touches
// anything, so that an Open beside another process changes nothing, and keeps them until Badger is
// closed: Badger itself is opened with BypassLockGuard. So there is no moment, while the interlock
// is set aside, at which another process could get in. Where system.locks is false Badger takes its
// locks itself, and dirLocks are empty.
type dirLocks struct {
	held []io.Closer
	pids []string // files with the process id that were written
	made []string // directories that were made, and are locked
}

// lockDirs takes the locks, as Badger would: shared ones if it is to be read only. It makes
// directories that are missing.
func lockDirs(opt badger.Options, fsys spillfile.FS, sys *system) (l *dirLocks, err error) {
	l = &dirLocks{}
	if opt.InMemory || opt.BypassLockGuard || !sys.locks {
		return l, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.abandon())
		}
	}()
	dirs := []string{opt.Dir}
	if !samePath(opt.Dir, opt.ValueDir) {
		dirs = append(dirs, opt.ValueDir)
	}
	for _, dir := range dirs {
		if err := l.lock(dir, opt.ReadOnly, fsys); err != nil {
			return l, err
		}
	}
	return l, nil
}

// lock makes a directory if it is missing, and locks it. Another Open that fails may remove the one
// that it has made between the two: then it begins again.
func (l *dirLocks) lock(dir string, readOnly bool, fsys spillfile.FS) error {
	for {
		made := false
		switch _, err := os.Stat(dir); {
		case err == nil:
		case !errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("%s %q err: %w", cannotLook, dir, err)
		case readOnly:
			return nil // Badger says so
		default:
			if err := fsys.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("%s %q err: %w", cannotMake, dir, err)
			}
			made = true
		}
		held, err := lockDir(dir, readOnly)
		switch {
		case errors.Is(err, os.ErrNotExist) && !readOnly:
			continue
		case err != nil: // one that is locked is another's, whoever made it
			return err
		}
		l.held = append(l.held, held)
		if made {
			l.made = append(l.made, dir)
		}
		return nil
	}
}

// samePath compares as Badger does: links are not followed.
func samePath(a, b string) bool {
	a, aerr := filepath.Abs(a)
	b, berr := filepath.Abs(b)
	return aerr == nil && berr == nil && a == b
}

// options are those to open Badger with.
func (l *dirLocks) options(opt badger.Options) badger.Options {
	return opt.WithBypassLockGuard(opt.BypassLockGuard || len(l.held) > 0)
}

// note writes the process id where Badger does. It comes after the notes in LOCK have been read.
func (l *dirLocks) note(opt badger.Options) error {
	if opt.ReadOnly || !pidFiles {
		return nil
	}
	for i := range l.held {
		path := lockPath([]string{opt.Dir, opt.ValueDir}[i])
		if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o666); err != nil {
			return fmt.Errorf("%s %q err: %w", cannotNote, path, err)
		}
		l.pids = append(l.pids, path)
	}
	return nil
}

// release ends it, after Badger was closed. It may be called on nil, and again.
func (l *dirLocks) release() error {
	if l == nil {
		return nil
	}
	err := l.forget()
	for _, held := range l.held {
		err = errors.Join(err, held.Close())
	}
	l.held = nil
	return err
}

// forget removes the files with the process id, while the locks are held: the next one writes its
// own.
func (l *dirLocks) forget() error {
	var errs []error
	for _, path := range l.pids {
		errs = append(errs, os.Remove(path))
	}
	l.pids = nil
	return errors.Join(errs...)
}

// abandon is release after an Open that failed: directories that it made are removed if they are
// empty. Where the directory itself is what is locked that comes first: afterwards another Open may
// be at work in it. Where a file in it is, it comes afterwards, and fails if another has made one.
func (l *dirLocks) abandon() error {
	if l == nil {
		return nil
	}
	err := l.forget()
	if !lockIsFile {
		l.unmake()
	}
	err = errors.Join(err, l.release())
	if lockIsFile {
		l.unmake()
	}
	return err
}

// unmake removes the directories that were made, but for those that hold something.
func (l *dirLocks) unmake() {
	for i := len(l.made) - 1; i >= 0; i-- {
		_ = os.Remove(l.made[i])
	}
	l.made = nil
}

// asLocked makes a LockedError of an error that says that a directory is locked, and leaves others
// as they are.
func asLocked(dir string, err error) error {
	var theirs *spillfile.LockedError
	switch {
	case errors.As(err, new(*LockedError)):
		return err
	case errors.As(err, &theirs):
		return &LockedError{Dir: dir, PID: theirs.PID, Err: err}
	case errors.Is(err, spillfile.ErrLocked):
		return &LockedError{Dir: dir, Err: err}
	case err != nil && strings.Contains(err.Error(), inUse): // Badger's own
		return &LockedError{Dir: dir, PID: holder(dir), Err: err}
	}
	return err
}

// holder returns the process that Badger's LOCK file names, 0 if there is none, or one that has
// ended. Where LOCK is what is locked it stays closed: on AIX a process that closes it has lost its
// own lock.
func holder(dir string) int {
	if !pidFiles {
		return 0
	}
	text, err := os.ReadFile(lockPath(dir))
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n")) // notes of the layer may follow
	pid, err := strconv.Atoi(string(line))
	if err != nil || !runs(pid) {
		return 0
	}
	return pid
}
