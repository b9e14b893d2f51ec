package badgerspill

import (
	"strings"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/badgerspill/internal/notify"
)

// events delivers to the listener, in order, and nobody waits for that.
type events struct {
	*notify.Queue

	to  *EventListener
	log badger.Logger

	writers    atomic.Uint64 // numbers WriterBlocked
	replayTold bool          // the replayer's goroutine's own
	failures   notify.Limiter
	recent     recent
}

func newEvents(to *EventListener, log badger.Logger) *events {
	if to == nil {
		to = &EventListener{}
	}
	return &events{to: to, log: log, Queue: notify.NewQueue(func(left int64) {
		log.Warningf("badgerspill: the EventListener is slower than the events, %d were left out: let it pass them on to a goroutine of its own\n", left)
	})}
}

// backgroundError tells of an error that no caller waits for, or that callers got in another form:
// by an event, and in the log, where then says what becomes of it. It must be called without locks
// that a logger could need.
func (e *events) backgroundError(op string, err error, then string) {
	e.recent.note("BackgroundError", BackgroundErrorInfo{op, err})
	notify.Deliver(e.Queue, e.to.BackgroundError, BackgroundErrorInfo{op, err}, notify.Rare)
	if more, ok := e.failures.Allow(op); ok {
		e.log.Errorf("badgerspill: could not %s: %s; %s%s\n", op, strings.TrimSpace(err.Error()), then, more)
	}
}
