package badgerspill

import (
	"strings"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/host"
)

// badgerLogger is Badger's Logger. It passes all lines on, and takes from some of them what Badger
// tells nobody otherwise. Badger calls it from where things happen, so it must not block.
type badgerLogger struct {
	to    badger.Logger // nil: nobody reads them
	state atomic.Pointer[host.State]
	lost  *host.LostTables // nil: nothing is compacted to disk
}

// Errorf implements badger.Logger. The line "writeRequests: ..." comes from the goroutine that
// writes, after a group of writes that has failed and before the next one.
func (l *badgerLogger) Errorf(format string, args ...any) {
	if strings.HasPrefix(format, "writeRequests:") {
		l.state.Load().Mend()
	}
	if l.to != nil {
		l.to.Errorf(format, args...)
	}
}

// Warningf implements badger.Logger.
func (l *badgerLogger) Warningf(format string, args ...any) {
	l.lost.Line(format, args)
	if l.to != nil {
		l.to.Warningf(format, args...)
	}
}

// Infof implements badger.Logger.
func (l *badgerLogger) Infof(format string, args ...any) {
	if l.to != nil {
		l.to.Infof(format, args...)
	}
}

// Debugf implements badger.Logger.
func (l *badgerLogger) Debugf(format string, args ...any) {
	l.lost.Line(format, args)
	if l.to != nil {
		l.to.Debugf(format, args...)
	}
}
