package badgerspill

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/spillfile/check"
	"github.com/badgerspill/badgerspill/wbm"
)

// Badger's errors, the same values, so that errors.Is holds whichever package named them.
var (
	ErrValueLogSize          = badger.ErrValueLogSize
	ErrKeyNotFound           = badger.ErrKeyNotFound
	ErrTxnTooBig             = badger.ErrTxnTooBig
	ErrConflict              = badger.ErrConflict
	ErrReadOnlyTxn           = badger.ErrReadOnlyTxn
	ErrDiscardedTxn          = badger.ErrDiscardedTxn
	ErrEmptyKey              = badger.ErrEmptyKey
	ErrInvalidKey            = badger.ErrInvalidKey
	ErrBannedKey             = badger.ErrBannedKey
	ErrThresholdZero         = badger.ErrThresholdZero
	ErrNoRewrite             = badger.ErrNoRewrite
	ErrRejected              = badger.ErrRejected
	ErrInvalidRequest        = badger.ErrInvalidRequest
	ErrManagedTxn            = badger.ErrManagedTxn
	ErrNamespaceMode         = badger.ErrNamespaceMode
	ErrInvalidDump           = badger.ErrInvalidDump
	ErrZeroBandwidth         = badger.ErrZeroBandwidth
	ErrWindowsNotSupported   = badger.ErrWindowsNotSupported
	ErrPlan9NotSupported     = badger.ErrPlan9NotSupported
	ErrTruncateNeeded        = badger.ErrTruncateNeeded
	ErrBlockedWrites         = badger.ErrBlockedWrites
	ErrNilCallback           = badger.ErrNilCallback
	ErrEncryptionKeyMismatch = badger.ErrEncryptionKeyMismatch
	ErrInvalidDataKeyID      = badger.ErrInvalidDataKeyID
	ErrInvalidEncryptionKey  = badger.ErrInvalidEncryptionKey
	ErrGCInMemoryMode        = badger.ErrGCInMemoryMode
	ErrGCInReadOnlyMode      = badger.ErrGCInReadOnlyMode
	ErrDBClosed              = badger.ErrDBClosed
)

// Errors of the layer.
var (
	// ErrWriteBlocked is returned by a commit that waited BlockTimeout, for room in memory or in
	// the spill or for what else that bounds. Nothing was written; it can be tried again in a new
	// transaction.
	ErrWriteBlocked = wbm.ErrWriteBlocked
	// ErrNoSpace is returned by a commit that no volume with free space above MinFreeSpace can
	// take, by an Open that has not the room to open, and by a few other calls that make Badger
	// write. Nothing was written; service is normal again when space is back.
	ErrNoSpace = room.ErrNoSpace
	// ErrBadgerHeld is returned by a commit that the spill does not take while Badger must get no
	// writes, and by what else writes to Badger. A file has the name of its next memtable, or of
	// the next file of its value log, or file descriptors have run out. The error names the cause
	// and the way out. Nothing was written; service is normal again when the cause is gone, without
	// a restart.
	ErrBadgerHeld = host.ErrHeld
	// ErrBadgerFailed is ErrBadgerHeld for what no waiting ends: Badger has lost keys that a
	// compaction was to keep, or a sync of its logs failed, which the error says more of. Reads go
	// on, and so do commits while the spill has room. A commit that Badger was writing when the
	// sync failed may be there all the same.
	ErrBadgerFailed = host.ErrFailed
	// ErrForeignWrites is returned by Open when Badger holds commits that are newer than the spill
	// and that did not come through the layer: somebody removed the interlock and wrote with plain
	// Badger. With the interlock in place it is ErrCorrupt, since the end of the spill is lost.
	ErrForeignWrites = errors.New("the database was written to past badgerspill while the spill held commits")
	// ErrMissingSpill is returned by Open when the interlock says that a spill holds commits and
	// SpillDir has none.
	ErrMissingSpill = check.ErrMissingSpill
	// ErrLocked matches the error of Open for a directory that another process, or another DB of
	// this one, has open: *LockedError names it. Nothing was changed; Open can be tried again.
	// SetSpillCapacity returns it for a SpillDir that is in use.
	ErrLocked = spillfile.ErrLocked
	// ErrCorrupt matches damage in a file of the spill; *spillfile.CorruptError names file and
	// offset.
	ErrCorrupt = spillfile.ErrCorrupt
	// ErrForeignSpill is returned by Open for a SpillDir that belongs to another database.
	ErrForeignSpill = spillfile.ErrForeignSpill
	// ErrBadOption matches the error of Open for an option out of its range; *OptionError names it.
	ErrBadOption = errors.New("bad option")
)

// OptionError names an option that Open refused. It matches ErrBadOption.
type OptionError struct {
	Field string // name of the field of Options
	Value any    // what was asked for
	Bound string // what the value must be
	Err   error  // Badger's error for it, nil if it has none
}

// Error returns the text: field, value, bound, and what Err says.
func (e *OptionError) Error() string {
	text := fmt.Sprintf("badgerspill: option %s = %v: must be %s", e.Field, e.Value, e.Bound)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *OptionError) Unwrap() error { return e.Err }

// Is reports whether target is ErrBadOption.
func (e *OptionError) Is(target error) bool { return target == ErrBadOption }

// namedError is an error of Badger's with an exported one in it, of which Badger's own wrapping has
// kept the text only.
type namedError struct{ text, name error }

func (e *namedError) Error() string { return e.text.Error() }

func (e *namedError) Unwrap() []error { return []error{e.text, e.name} }

// named makes errors.Is find in an error of badger.Open what its text says.
func named(err error) error {
	for _, name := range []error{ErrTruncateNeeded, ErrInvalidEncryptionKey, ErrInvalidDataKeyID} {
		if err != nil && !errors.Is(err, name) && strings.Contains(err.Error(), name.Error()) {
			return &namedError{err, name}
		}
	}
	return err
}
