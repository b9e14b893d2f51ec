package badgerspill

import (
	"errors"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/spillfile"
)

// LockedError is the error of Open for a directory that is open already: in another process, or in
// another DB of this one. It matches ErrLocked. Its text begins with Badger's own for the system.
type LockedError struct {
	Dir string // the directory: that of Options.Dir, ValueDir or SpillDir
	PID int    // the process that has it open for writing; 0 if that is not known
	Err error  // what the system, Badger or package spillfile says
}

// Error returns the text.
func (e *LockedError) Error() string { return (*host.LockedError)(e).Error() }

// Unwrap returns Err.
func (e *LockedError) Unwrap() error { return e.Err }

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// asLocked makes a LockedError of an error that says that a directory is locked, and leaves others
// as they are.
func asLocked(dir string, err error) error {
	var ours *host.LockedError
	var theirs *spillfile.LockedError
	switch {
	case errors.As(err, new(*LockedError)):
		return err
	case errors.As(err, &ours):
		return (*LockedError)(ours)
	case errors.As(err, &theirs):
		return &LockedError{Dir: dir, PID: theirs.PID, Err: err}
	case errors.Is(err, spillfile.ErrLocked):
		return &LockedError{Dir: dir, Err: err}
	case host.SaysLocked(err): // Badger's own
		return &LockedError{Dir: dir, PID: host.LockHolder(dir), Err: err}
	}
	return err
}
