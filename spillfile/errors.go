package spillfile

import (
	"errors"
	"fmt"

	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Returned by Open.
var (
	// ErrLocked means that another process, or another Log of this one, has the directory open.
	// Every *LockedError matches it.
	ErrLocked = vfs.ErrLocked
	// ErrForeignSpill means that the spill holds commits of another database.
	ErrForeignSpill = errors.New("spill belongs to another database")
	// ErrWrongKey means that the encryption key given does not open the spill.
	ErrWrongKey = errors.New("wrong encryption key for the spill")
	// ErrKeyMissing means that the spill is encrypted and no encryption key was given.
	ErrKeyMissing = errors.New("spill is encrypted and no encryption key was given")
	// ErrNoManifest means that a directory holds segments but no MANIFEST.
	ErrNoManifest = errors.New("spill directory has segments but no MANIFEST")
	// ErrFormatVersion means that a file was written in a format that this release does not know.
	// Every *VersionError matches it.
	ErrFormatVersion = errors.New("unsupported spill format version")
	// ErrOptions means that a field of Options is out of its bounds.
	ErrOptions = errors.New("invalid spill options")
)

// Returned by Open and by everything that reads.
var (
	// ErrCorrupt means that bytes which were once durable are damaged or gone. Every *CorruptError
	// matches it.
	ErrCorrupt = errors.New("spill is corrupt")
)

// Returned by a Log that is open.
var (
	// ErrClosed means that the Log is closed, or was closed while the call waited.
	ErrClosed = errors.New("spill is closed")
	// ErrReadOnly means that the Log was opened with ReadOnly.
	ErrReadOnly = errors.New("spill is open read-only")
	// ErrTooLarge means that a key, a value or a batch exceeds what a segment can hold.
	ErrTooLarge = errors.New("too large for the spill")
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

// CorruptError says where damage was found. It matches ErrCorrupt.
type CorruptError struct {
	File   string // path of the damaged or missing file
	Offset int64  // byte offset of the first damaged structure
	Reason string // what is wrong, with both values where two disagree
}

// Error names the file, the offset, the reason and the remedy.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: %s at offset %d: %s; put the file back from a copy, or get out what is intact with \"badgerspill salvage\"",
		ErrCorrupt, e.File, e.Offset, e.Reason)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// VersionError names a file in a format that this release does not know. It matches
// ErrFormatVersion.
type VersionError struct {
	File             string // path of the file
	Found, Supported uint32 // the version in the file, and the newest that this release reads
}

// Error names the file, both versions and the remedy.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%v: %s has version %d, this release supports %d; open it with the release that wrote it, and SpillPolicy Never: that replays the spill and removes its files",
		ErrFormatVersion, e.File, e.Found, e.Supported)
}

// Is makes errors.Is(err, ErrFormatVersion) true.
func (e *VersionError) Is(target error) bool { return target == ErrFormatVersion }

func corrupt(file string, offset int64, format string, args ...any) error {
	return &CorruptError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}
