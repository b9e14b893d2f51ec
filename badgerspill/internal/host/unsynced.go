package host

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// Unsynced notices that a sync of Badger's logs has failed. Then nobody knows what of them is on
// the disk, and no later sync makes that good: the system may count the pages as written. After a
// power cut Badger reads a log up to the first hole, so what comes behind it is gone, too.
//
// Badger only logs it where it has synced the value log for a write, and answers the write as if it
// were durable. Where it returns the error it goes on writing to the same file.
//
// All methods may be called on nil, and are safe for concurrent use.
type Unsynced struct {
	first atomic.Pointer[failedError]
	fail  func(error) // is told once
}

// NewUnsynced returns one that has noticed nothing. fail is told once. It is called from where
// Badger writes, so it must not wait for a write.
func NewUnsynced(fail func(error)) *Unsynced { return &Unsynced{fail: fail} }

// Note says that a sync of a log has failed. Only the first time counts.
func (u *Unsynced) Note(cause error) {
	if u == nil {
		return
	}
	cause = fmt.Errorf("a sync of Badger's logs failed, and its latest commits may not survive a power cut: %w. "+
		"Look at the disk, open the database again, and make a backup", cause)
	if u.first.CompareAndSwap(nil, &failedError{cause}) {
		u.fail(cause)
	}
}

// Err returns nil, or the first failure, as an error that matches ErrFailed. It does not block.
func (u *Unsynced) Err() error {
	if u == nil {
		return nil
	}
	if err := u.first.Load(); err != nil {
		return err
	}
	return nil
}

// Line takes an error line of Badger's. value.go: write; db.go: doWrites.
func (u *Unsynced) Line(format string, args []any) {
	if u == nil || len(args) != 1 {
		return
	}
	cause, ok := args[0].(error)
	if !ok {
		return
	}
	if strings.HasPrefix(format, "Error while curlf sync:") ||
		strings.HasPrefix(format, "writeRequests:") && isOfSync(cause.Error()) {
		u.Note(cause)
	}
}

// isOfSync reports whether a write has failed since a log could not be synced. Badger gives the
// error of the memtable's log as it is, and what else it may meet there has one of these texts.
func isOfSync(text string) bool {
	if strings.HasPrefix(text, "Unable to sync value log") {
		return true
	}
	cause, ok := strings.CutPrefix(text, "writeRequests err: ")
	for _, other := range []string{"cannot create new mem table", "No room for write", "Ptrs and Entries", "while writing to memTable"} {
		ok = ok && !strings.HasPrefix(cause, other)
	}
	return ok
}
