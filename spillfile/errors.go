package spillfile

import (
	"errors"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Returned by Open.
var (
	// ErrLocked means that another process, or another Log of this one, has the directory open.
	// Every *LockedError matches it.
	ErrLocked = vfs.ErrLocked
	// ErrForeignSpill means that the spill holds commits of another database.
	ErrForeignSpill = errors.New("spill belongs to another database")
	// ErrNoManifest means that a directory holds segments but no MANIFEST.
	ErrNoManifest = errors.New("spill directory has segments but no MANIFEST")
	// ErrOptions means that a field of Options is out of its bounds.
	ErrOptions = errors.New("invalid spill options")
)

// Returned by a Log that is open.
var (
	// ErrClosed means that the Log is closed, or was closed while the call waited.
	ErrClosed = errors.New("spill is closed")
	// ErrReadOnly means that the Log was opened with ReadOnly.
	ErrReadOnly = errors.New("spill is open read-only")
	// ErrNotEnqueued means that Commit was called for a batch that is not in the queue.
	ErrNotEnqueued = errors.New("batch was not enqueued")
	// errNotEmpty: Log.Remove would lose commits.
	errNotEmpty = errors.New("spill is not empty")
	// errDeferred: nobody may spill before Log.Make.
	errDeferred = errors.New("spill is not made yet")
	// ErrPoisoned means that a segment failed to be written or synced earlier, so that nothing
	// about its durability can be promised any more.
	ErrPoisoned = errors.New("segment is poisoned by an earlier failure")
)
