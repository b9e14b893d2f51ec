package pipeline

import (
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
)

// Part is a part of a commit's time.
type Part int

// The parts, in the order in which they follow each other. Conflict, Room and Encode may each come
// several times.
const (
	PartConflict Part = iota // fingerprints, the commit lock, the check for conflicts, the place
	PartRoom                 // waiting for room, a turn, a hand-over, a subscriber, a full queue
	PartEncode               // the batch for the spill, or the transaction for Badger
	PartQueued               // in the log's queue, until a leader took the commit's group
	PartAppend               // writing that group
	PartSync                 // syncing it
	PartToBadger             // from when it was sent until Badger answered, or until it was hedged
	PartVisible              // from then until it was acknowledged and its goroutine ran
	Parts
)

// Answer says who had a commit first.
type Answer int

// The answers.
const (
	ByNobody Answer = iota
	ByBadger
	BySpill
)

// Trace takes the times of one commit. Each part begins where the one before it ends. A nil one
// does nothing, and does not look at the clock. It is complete once Submit has failed, or Await has
// returned. A Trace serves one commit at a time.
type Trace struct {
	Spent  [Parts]time.Duration
	Total  time.Duration
	By     Answer
	Hedged bool // sent to Badger, and appended to the spill as well before Badger had answered

	origin time.Time // when Commit was called
	last   int64     // the end of the last part, in nanoseconds since origin

	// Guarded by the commit lock until the commit is settled, and not written after that.
	sent, answered, hedged int64
	spill                  spillfile.Times
}

// Start begins anew.
func (t *Trace) Start() {
	if t == nil {
		return
	}
	*t = Trace{origin: time.Now()}
}

func (t *Trace) now() int64 { return int64(time.Since(t.origin)) }

// ended ends a part, which began with the last end.
func (t *Trace) ended(p Part) {
	if t != nil {
		t.endedAt(p, t.now())
	}
}

func (t *Trace) endedAt(p Part, end int64) {
	if end > t.last { // else it is not known, or of no length
		t.Spent[p] += time.Duration(end - t.last)
		t.last = end
	}
}

// batchTimes returns where the log is to note its times.
func (t *Trace) batchTimes() *spillfile.Times {
	if t == nil {
		return nil
	}
	return new(spillfile.Times)
}

// wasSent notes that Badger gets the commit now. Needs the commit lock, as do the next three.
func (t *Trace) wasSent() {
	if t != nil {
		t.sent = t.now()
	}
}

func (t *Trace) wasHedged() {
	if t != nil {
		t.hedged, t.Hedged = t.now(), true
	}
}

// answeredBadger notes Badger's answer. The commit must not be settled.
func (t *Trace) answeredBadger(err error) {
	if t == nil {
		return
	}
	t.answered = t.now()
	if err == nil {
		t.By = ByBadger
	}
}

// answeredSpill notes the log's answer. The commit must not be settled.
func (t *Trace) answeredSpill(b *spillfile.Batch, err error) {
	if t == nil || b.Times == nil {
		return
	}
	t.spill = *b.Times
	if err == nil {
		t.By = BySpill
	}
}

// failed ends it for a commit that got no place.
func (t *Trace) failed() {
	if t != nil {
		t.ended(PartRoom)
		t.Total = time.Duration(t.last)
	}
}

// finish ends it for a commit that is acknowledged, or failed after it had its place.
func (t *Trace) finish(c *Commit) {
	if t == nil {
		return
	}
	bySpill := t.By == BySpill
	if t.Hedged && bySpill {
		t.endedAt(PartToBadger, t.hedged)
	}
	if c.spilled || bySpill {
		t.endedAt(PartQueued, t.clock(t.spill.Taken))
		t.endedAt(PartAppend, t.clock(t.spill.Written))
		t.endedAt(PartSync, t.clock(t.spill.Synced))
	}
	if c.spilled && !bySpill {
		t.endedAt(PartQueued, t.sent) // the spill failed, and it went to Badger after all
	}
	if !bySpill {
		t.endedAt(PartToBadger, t.answered)
	}
	t.ended(PartVisible)
	t.Total = time.Duration(t.last)
}

// clock returns a time in nanoseconds since origin, 0 for none.
func (t *Trace) clock(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return int64(at.Sub(t.origin))
}
