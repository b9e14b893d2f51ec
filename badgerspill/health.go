package badgerspill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
)

// HealthState tells whether replay can go on. While it cannot, commit order holds: what lies behind
// waits. Reads of what is whole go on, and so do commits while the spill has room.
type HealthState int32

// The states.
const (
	// HealthGood: replay goes on, or has nothing to do.
	HealthGood HealthState = iota
	// HealthDelayed: an operation of replay has failed, and is tried again with a delay that grows
	// to 30 s.
	HealthDelayed
	// HealthStopped: replay has stopped. Damage keeps it stopped until the next Open, or until what
	// is damaged is dropped; room on Badger's volume, or a Badger that works again, ends it by
	// themselves.
	HealthStopped
)

// String returns the name in lower case.
func (s HealthState) String() string {
	switch s {
	case HealthGood:
		return "good"
	case HealthDelayed:
		return "delayed"
	case HealthStopped:
		return "stopped"
	}
	return fmt.Sprintf("health(%d)", int32(s))
}

// ErrReplayStopped matches the error of DB.Health in the state HealthStopped, and that of a commit
// that the spill has no room for meanwhile: *HealthError. It wraps the cause.
var ErrReplayStopped = errors.New("replay has stopped")

// HealthError is what DB.Health returns while replay cannot go on.
type HealthError struct {
	State HealthState // HealthDelayed or HealthStopped
	Since time.Time   // when it began
	Err   error       // the cause, which names the file
	Way   string      // the way out
}

// Error returns the text: what is the matter, why, and the way out.
func (e *HealthError) Error() string {
	what := "replay is delayed"
	if e.State == HealthStopped {
		what = ErrReplayStopped.Error()
	}
	return fmt.Sprintf("badgerspill: %s: %v; %s", what, e.Err, e.Way)
}

// Unwrap returns Err.
func (e *HealthError) Unwrap() error { return e.Err }

// Is reports whether target is ErrReplayStopped, and that is so.
func (e *HealthError) Is(target error) bool {
	return target == ErrReplayStopped && e.State == HealthStopped
}

// HealthInfo belongs to EventListener.HealthChange.
type HealthInfo struct {
	Old, New HealthState // before and after the change
	Err      error       // as DB.Health returns it; nil if New is HealthGood
}

// Health returns nil while replay can go on, and otherwise a *HealthError. For a probe: it does not
// block, takes no lock, and is safe for concurrent use. A closed database is none of its business.
func (db *DB) Health() error {
	if e := db.health.now.Load(); e != nil {
		return e
	}
	return nil
}

// health puts together what keeps replay from going on.
type health struct {
	now atomic.Pointer[HealthError]

	// untilStopped ends in the state HealthStopped: who waits for room then would wait for
	// replay. A new one is there before now says that replay goes on.
	untilStopped atomic.Pointer[endingContext]

	mu sync.Mutex
	// Guarded by mu. What replay has met last. The other sources are the guard before Badger and
	// the space on its volume.
	replay      error
	replayState HealthState
}

type endingContext struct {
	context.Context
	end context.CancelFunc
}

func newEndingContext(parent context.Context) *endingContext {
	ctx, end := context.WithCancel(parent)
	return &endingContext{ctx, end}
}

// stopped returns the error of Health in the state HealthStopped, nil in another.
func (h *health) stopped() *HealthError {
	if e := h.now.Load(); e != nil && e.State == HealthStopped {
		return e
	}
	return nil
}

// lasting reports whether what replay has met is the same when it is tried again.
func lasting(err error) bool {
	for _, is := range []error{ErrCorrupt, ErrBadgerFailed, spillfile.ErrFormatVersion, spillfile.ErrWrongKey, spillfile.ErrKeyMissing} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// replayFailed is replay.Options.OnError. A cause that is lasting is told by the change of health
// alone.
func (db *DB) replayFailed(err error, retryIn time.Duration) {
	state := HealthDelayed
	switch {
	case db.feed.Outdated():
		// what it is about was dropped meanwhile
		db.replayRecovered()
		db.replayer.Resume()
		return
	case retryIn == 0:
		state = HealthStopped
	case retryIn >= replay.DefaultBackoffMax: // nobody should wait for what has failed for a minute
		state = HealthStopped
		fallthrough
	default:
		db.events.backgroundError("replay the spill", err, fmt.Sprintf("nothing is lost, next try in %v", retryIn))
	}
	db.setHealth(func(h *health) { h.replay, h.replayState = err, state })
}

// replayRecovered is replay.Options.OnRecovered.
func (db *DB) replayRecovered() {
	db.setHealth(func(h *health) { h.replay, h.replayState = nil, HealthGood })
}

// replayMoves says that a batch has reached Badger: what has failed for a minute does not do so any
// more.
func (db *DB) replayMoves() {
	if db.health.stopped() == nil {
		return
	}
	db.setHealth(func(h *health) {
		if h.replayState == HealthStopped && !lasting(h.replay) {
			h.replayState = HealthDelayed
		}
	})
}

// spillChanged says that all that was to be replayed is gone, and with it what replay has met: an
// empty spill has no batch that could succeed. Replay that damage has stopped looks again.
func (db *DB) spillChanged() {
	if db.replayer == nil {
		return
	}
	db.replayRecovered()
	if db.replayer.Stats().Halted != nil {
		db.replayer.Resume()
	}
}

// setHealth changes what replay has met, and tells if the outcome is another. change is nil if one
// of the other sources has changed.
func (db *DB) setHealth(change func(*health)) {
	h := &db.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if change != nil {
		change(h)
	}
	was := h.now.Load()
	next := db.judgeHealth()
	old, state := HealthGood, HealthGood
	if was != nil {
		old = was.State
	}
	if next != nil {
		state = next.State
		next.Since = time.Now()
		if was != nil && was.State == next.State {
			next.Since = was.Since
		}
	}
	if old == HealthStopped && state != HealthStopped {
		h.untilStopped.Store(newEndingContext(db.ctx))
	}
	h.now.Store(next)
	// of a state that was stopped for less
	news := next != nil && lasting(next.Err) && (was == nil || !lasting(was.Err))
	if old == state && !news {
		return
	}
	var err error
	if next != nil {
		err = next
	}
	db.events.healthChange(HealthInfo{Old: old, New: state, Err: err})
	if state == HealthStopped {
		h.untilStopped.Load().end()
	}
	switch { // about free space there are lines of its own
	case state == HealthStopped && h.replayState == HealthStopped:
		db.opt.Errorf("badgerspill: replay has stopped: %v; %s\n", next.Err, next.Way)
	case state == HealthGood && change != nil:
		db.opt.Infof("badgerspill: replay goes on\n")
	}
}

// judgeHealth returns what is the matter, nil if nothing is. Needs health.mu.
func (db *DB) judgeHealth() *HealthError {
	const openingEnded = "commits go on while the spill has room; "
	h, guard, low, drop := &db.health, db.guard.Blocked(), db.room.Low(), db.unfinished.Load()
	stopped := func(err error, way string) *HealthError {
		return &HealthError{State: HealthStopped, Err: err, Way: way}
	}
	switch {
	case h.replayState == HealthStopped && errors.Is(h.replay, ErrCorrupt):
		return stopped(h.replay, openingEnded+"`badgerspill verify` lists all that is damaged, and `badgerspill salvage` makes a database of what is whole")
	case h.replayState == HealthStopped:
		return stopped(h.replay, openingEnded+"mend the cause, and open the database again")
	case errors.Is(guard, ErrBadgerFailed):
		return stopped(guard, openingEnded+"mend the cause, and open the database again")
	case drop != nil:
		return stopped(drop.err, "nothing is lost of what was not to be dropped; mend the cause, and it goes on by itself")
	case guard != nil:
		return stopped(guard, "it goes on when that is mended")
	case low != nil:
		return stopped(low, "it goes on when there is room")
	case h.replayState == HealthDelayed:
		return &HealthError{State: HealthDelayed, Err: h.replay, Way: "nothing is lost, and it is tried again"}
	}
	return nil
}
