package block

import (
	"errors"
	"fmt"
)

// What can be wrong with bytes on disk, or with those that are to be written.
var (
	// ErrWrongKey means that the encryption key given does not open the spill.
	ErrWrongKey = errors.New("wrong encryption key for the spill")
	// ErrKeyMissing means that the spill is encrypted and no encryption key was given.
	ErrKeyMissing = errors.New("spill is encrypted and no encryption key was given")
	// ErrFormatVersion means that a file was written in a format that this release does not know.
	// Every *VersionError matches it.
	ErrFormatVersion = errors.New("unsupported spill format version")
	// ErrCorrupt means that bytes which were once durable are damaged or gone. Every *CorruptError
	// matches it.
	ErrCorrupt = errors.New("spill is corrupt")
	// ErrTooLarge means that a key, a value or a batch exceeds what a segment can hold.
	ErrTooLarge = errors.New("too large for the spill")
)

// CorruptError says where damage was found. It matches ErrCorrupt.
type CorruptError struct {
	File   string // path of the damaged or missing file
	Offset int64  // byte offset of the first damaged structure
	Reason string // what is wrong, with both values where two disagree
	Remedy string // what to do, where it is another thing than to put the file back
}

// Error names the file, the offset, the reason and the remedy.
func (e *CorruptError) Error() string {
	remedy := e.Remedy
	if remedy == "" {
		remedy = "put the file back from a copy, or get out what is intact with \"badgerspill salvage\""
	}
	return fmt.Sprintf("%v: %s at offset %d: %s; %s", ErrCorrupt, e.File, e.Offset, e.Reason, remedy)
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

// Corrupt returns a *CorruptError with a formatted reason.
func Corrupt(file string, offset int64, format string, args ...any) error {
	return &CorruptError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// ReadError says of an error of reading a segment which file that was; a *CorruptError says it
// itself.
func ReadError(path string, err error) error {
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("spill segment %s: read: %w", path, err)
}
