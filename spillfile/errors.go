package spillfile

import (
	"errors"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
	"github.com/badgerspill/badgerspill/spillfile/internal/filepool"
	"github.com/badgerspill/badgerspill/spillfile/internal/recovery"
	"github.com/badgerspill/badgerspill/spillfile/vfs"
)

// Returned by Open.
var (
	// ErrLocked means that another process, or another Log of this one, has the directory open.
	// Every *LockedError matches it.
	ErrLocked = vfs.ErrLocked
	// ErrForeignSpill means that the spill holds commits of another database.
	ErrForeignSpill = recovery.ErrForeignSpill
	// ErrWrongKey means that the encryption key given does not open the spill.
	ErrWrongKey = block.ErrWrongKey
	// ErrKeyMissing means that the spill is encrypted and no encryption key was given.
	ErrKeyMissing = block.ErrKeyMissing
	// ErrNoManifest means that a directory holds segments but no MANIFEST.
	ErrNoManifest = recovery.ErrNoManifest
	// ErrFormatVersion means that a file was written in a format that this release does not know.
	// Every *VersionError matches it.
	ErrFormatVersion = block.ErrFormatVersion
	// ErrOptions means that a field of Options is out of its bounds.
	ErrOptions = recovery.ErrOptions
)

// Returned by Open and by everything that reads.
var (
	// ErrCorrupt means that bytes which were once durable are damaged or gone. Every *CorruptError
	// matches it.
	ErrCorrupt = block.ErrCorrupt
)

// Returned by a Log that is open.
var (
	// ErrClosed means that the Log is closed, or was closed while the call waited.
	ErrClosed = filepool.ErrClosed
	// ErrReadOnly means that the Log was opened with ReadOnly.
	ErrReadOnly = errors.New("spill is open read-only")
	// ErrTooLarge means that a key, a value or a batch exceeds what a segment can hold.
	ErrTooLarge = block.ErrTooLarge
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

// CorruptError says where damage was found: in File, a path, at Offset, in bytes, of the first
// structure that is damaged or missing; Reason says what is wrong, with both values where two
// disagree. It matches ErrCorrupt.
type CorruptError = block.CorruptError

// VersionError names a File, a path, in a format that this release does not know: Found is the
// version in the file, Supported the newest that this release reads. It matches ErrFormatVersion.
type VersionError = block.VersionError
