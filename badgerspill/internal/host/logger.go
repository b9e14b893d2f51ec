package host

import (
	"strings"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// Logger is Badger's Logger. It passes all lines on, and takes from some of them what Badger tells
// nobody otherwise. Badger calls it from where things happen, so it does not block, but for what it
// passes lines to. It is safe for concurrent use.
type Logger struct {
	to    badger.Logger // nil: nobody reads them
	state atomic.Pointer[State]
	lost  *LostTables // nil: nothing is compacted to disk
	// nil: nothing is written to disk
	unsynced *Unsynced
}

// NewLogger returns a logger that passes lines on to to, which may be nil. It tells lost, nil where
// nothing is compacted to disk, what compactions announce, and unsynced, nil where nothing is
// written there, which syncs have failed.
func NewLogger(to badger.Logger, lost *LostTables, unsynced *Unsynced) *Logger {
	return &Logger{to: to, lost: lost, unsynced: unsynced}
}

// Mends has s put right after each write that fails. There is an s only once Badger is open.
func (l *Logger) Mends(s *State) { l.state.Store(s) }

// Errorf implements badger.Logger. The line "writeRequests: ..." comes from the goroutine that
// writes, after a group of writes that has failed and before the next one. The line "Invalid read:
// ..." comes from a reader of the value log that returns next, and keeps the lock of the file.
func (l *Logger) Errorf(format string, args ...any) {
	l.unsynced.Line(format, args)
	switch {
	case strings.HasPrefix(format, "writeRequests:"):
		l.state.Load().Mend()
	case strings.HasPrefix(format, "Invalid read: vp:") && len(args) == 1:
		l.state.Load().letGo(args[0])
	}
	if l.to != nil {
		l.to.Errorf(format, args...)
	}
}

// Warningf implements badger.Logger.
func (l *Logger) Warningf(format string, args ...any) {
	l.lost.Line(format, args)
	if l.to != nil {
		l.to.Warningf(format, args...)
	}
}

// Infof implements badger.Logger.
func (l *Logger) Infof(format string, args ...any) {
	if l.to != nil {
		l.to.Infof(format, args...)
	}
}

// Debugf implements badger.Logger.
func (l *Logger) Debugf(format string, args ...any) {
	l.lost.Line(format, args)
	if l.to != nil {
		l.to.Debugf(format, args...)
	}
}
