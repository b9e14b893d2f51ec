package host

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

// LockedError says that a directory is open already: in another process, or in another database of
// this one. It matches spillfile.ErrLocked.
type LockedError struct {
	Dir string // as it was given
	PID int    // the process that has it open for writing; 0 if that is not known
	Err error  // what the system says
}

// Error returns the text, which begins with Badger's own for the system.
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

// Is reports whether target is spillfile.ErrLocked.
func (e *LockedError) Is(target error) bool { return target == spillfile.ErrLocked }

// SaysLocked reports whether an error of Badger's says that another process has a directory.
func SaysLocked(err error) bool { return err != nil && strings.Contains(err.Error(), inUse) }

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

const (
	// SystemLocks says that this system lets others than Badger take its locks: see DirLocks.
	SystemLocks = systemLocks
	// PIDFiles says that LOCK can be read and written beside the lock.
	PIDFiles = pidFiles
)

// DirLocks are Badger's own locks of Dir and ValueDir. The layer takes them before it touches
// anything, so that an Open beside another process changes nothing, and keeps them until Badger is
// closed: Badger itself is opened with BypassLockGuard. So there is no moment, while the interlock
// is set aside, at which another process could get in. Where they cannot be taken from outside
// Badger takes its locks itself, and DirLocks are empty.
//
// DirLocks are not safe for concurrent use: Open and Close call them, one after the other. There is
// no mutex. Release and Abandon may be called on nil.
type DirLocks struct {
	held []io.Closer
	pids []string // files with the process id that were written
	made []string // directories that were made, and are locked
}

// LockDirs takes the locks, as Badger would: shared ones if it is to be read only, none with
// InMemory or BypassLockGuard. It makes directories that are missing. supported is SystemLocks; a
// test may have it otherwise. It does not wait for a lock: one that another has is a *LockedError.
// With an error, too, it returns what it has taken and made, for Abandon.
func LockDirs(opt badger.Options, fsys spillfile.FS, supported bool) (*DirLocks, error) {
	l := &DirLocks{}
	if opt.InMemory || opt.BypassLockGuard || !supported {
		return l, nil
	}
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
func (l *DirLocks) lock(dir string, readOnly bool, fsys spillfile.FS) error {
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

// Options returns opt as Badger is to be opened with it while the locks are held.
func (l *DirLocks) Options(opt badger.Options) badger.Options {
	return opt.WithBypassLockGuard(opt.BypassLockGuard || len(l.held) > 0)
}

// WritePID writes the process id where Badger does, for LockHolder. It comes after the notes in
// LOCK have been read, over which it writes. opt is that of LockDirs.
func (l *DirLocks) WritePID(opt badger.Options) error {
	if opt.ReadOnly || !PIDFiles {
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

// Release gives the locks back, after Badger was closed. It may be called again.
func (l *DirLocks) Release() error {
	if l == nil {
		return nil
	}
	err := l.removePIDs()
	for _, held := range l.held {
		err = errors.Join(err, held.Close())
	}
	l.held = nil
	return err
}

// removePIDs removes the files with the process id, while the locks are held: the next one writes
// its own.
func (l *DirLocks) removePIDs() error {
	var errs []error
	for _, path := range l.pids {
		errs = append(errs, os.Remove(path))
	}
	l.pids = nil
	return errors.Join(errs...)
}

// Abandon is Release after an Open that failed: directories that it made are removed if they are
// empty. Where the directory itself is what is locked that comes first: afterwards another Open may
// be at work in it. Where a file in it is, it comes afterwards, and fails if another has made one.
func (l *DirLocks) Abandon() error {
	if l == nil {
		return nil
	}
	err := l.removePIDs()
	if !lockIsFile {
		l.removeMade()
	}
	err = errors.Join(err, l.Release())
	if lockIsFile {
		l.removeMade()
	}
	return err
}

// removeMade removes the directories that were made, but for those that hold something.
func (l *DirLocks) removeMade() {
	for i := len(l.made) - 1; i >= 0; i-- {
		_ = os.Remove(l.made[i])
	}
	l.made = nil
}

// LockHolder returns the process that Badger's LOCK file in dir names, 0 if there is none, or one
// that has ended. Where LOCK is what is locked it stays closed: on AIX a process that closes it has
// lost its own lock.
func LockHolder(dir string) int {
	if !PIDFiles {
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
