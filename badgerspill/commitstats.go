package badgerspill

import (
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
)

// CommitAnswer says who had a commit first, so that it could be acknowledged.
type CommitAnswer int

// The answers.
const (
	AnsweredByNobody CommitAnswer = iota // the commit failed, or there was nothing to commit
	AnsweredByBadger
	AnsweredBySpill
)

// String returns the name in a word.
func (a CommitAnswer) String() string {
	switch a {
	case AnsweredByBadger:
		return "badger"
	case AnsweredBySpill:
		return "spill"
	}
	return "nobody"
}

// CommitStats says where the time of one commit went: see Txn.Measure. The parts follow each other,
// so they sum up to Total. Which of them are 0 depends on the way that the commit took.
type CommitStats struct {
	// from the call of Commit until it returns, or until the callback of CommitWith is called
	Total time.Duration

	// taking fingerprints of the keys, the commit lock, the check for conflicts, the place in the
	// commit order
	Conflict time.Duration
	// waiting for what the tier asks for: room in memory, in the spill or on disk, its turn; a
	// hand-over, a subscriber, a full queue to Badger
	Room   time.Duration
	Encode time.Duration // the batch for the spill, or the transaction for Badger
	Queue  time.Duration // in the log's queue, until a leader took the commit's group to write it
	Append time.Duration // writing that group to the spill
	Sync   time.Duration // and syncing it, under SyncWrites
	// from when it was sent to Badger until it answered, or until the commit was hedged, if the
	// spill was first
	Badger time.Duration
	// from then until it was acknowledged and this goroutine ran: indexing, earlier commits, waking
	// up
	Visible time.Duration

	AnsweredBy CommitAnswer // who had the commit first
	// sent to Badger, and appended to the spill as well before Badger had answered
	Hedged bool
}

// Measure has the commit of the transaction fill in into, before Commit returns or before the
// callback of CommitWith is called. It must be called before that, and into must be left alone
// until then. It is filled in for a commit that fails, too, with the parts up to there; with zeros
// for one without writes. nil takes the request back. Without it a commit takes no time for this,
// and no memory.
func (txn *Txn) Measure(into *CommitStats) {
	if into != nil {
		*into = CommitStats{}
		txn.makeRare().watch = &stopwatch{db: txn.db, into: into}
	} else if txn.rare != nil {
		txn.rare.watch = nil
	}
}

// stopwatch takes the times of one commit. Each part begins where the one before it ends. A nil one
// does nothing, and does not look at the clock.
type stopwatch struct {
	db    *DB
	into  *CommitStats
	stats CommitStats
	begin int64 // this and the other times in nanoseconds of DB.now
	last  int64 // end of the last part

	// Guarded by DB.mu until the commit is settled, and not written after that.
	sent, answered, hedged int64
	spill                  spillfile.Times
}

// start starts it.
func (w *stopwatch) start() {
	if w == nil {
		return
	}
	*w = stopwatch{db: w.db, into: w.into}
	*w.into = CommitStats{}
	w.begin = w.db.now()
	w.last = w.begin
}

// part ends the part that began with the last end.
func (w *stopwatch) part(of func(*CommitStats) *time.Duration) {
	if w != nil {
		w.partUntil(of, w.db.now())
	}
}

func (w *stopwatch) partUntil(of func(*CommitStats) *time.Duration, end int64) {
	if end > w.last { // else it is not known, or of no length
		*of(&w.stats) += time.Duration(end - w.last)
		w.last = end
	}
}

func partConflict(s *CommitStats) *time.Duration { return &s.Conflict }
func partRoom(s *CommitStats) *time.Duration     { return &s.Room }
func partEncode(s *CommitStats) *time.Duration   { return &s.Encode }
func partQueue(s *CommitStats) *time.Duration    { return &s.Queue }
func partAppend(s *CommitStats) *time.Duration   { return &s.Append }
func partSync(s *CommitStats) *time.Duration     { return &s.Sync }
func partBadger(s *CommitStats) *time.Duration   { return &s.Badger }
func partVisible(s *CommitStats) *time.Duration  { return &s.Visible }

// batchTimes returns where the log is to note its times.
func (w *stopwatch) batchTimes() *spillfile.Times {
	if w == nil {
		return nil
	}
	return new(spillfile.Times)
}

// answeredBadger notes Badger's answer. Needs DB.mu, and that the commit is not settled.
func (w *stopwatch) answeredBadger(err error) {
	if w == nil {
		return
	}
	w.answered = w.db.now()
	if err == nil {
		w.stats.AnsweredBy = AnsweredByBadger
	}
}

// answeredSpill notes the log's answer. Needs DB.mu, and that the commit is not settled.
func (w *stopwatch) answeredSpill(b *spillfile.Batch, err error) {
	if w == nil || b.Times == nil {
		return
	}
	w.spill = *b.Times
	if err == nil {
		w.stats.AnsweredBy = AnsweredBySpill
	}
}

// failed ends it for a commit that got no place.
func (w *stopwatch) failed() {
	if w != nil {
		w.part(partRoom)
		w.done()
	}
}

// finish ends it for a commit that is acknowledged, or failed.
func (w *stopwatch) finish(c *commit) {
	if w == nil {
		return
	}
	bySpill := w.stats.AnsweredBy == AnsweredBySpill
	if w.stats.Hedged && bySpill {
		w.partUntil(partBadger, w.hedged)
	}
	if c.spilled || bySpill {
		w.partUntil(partQueue, w.clock(w.spill.Taken))
		w.partUntil(partAppend, w.clock(w.spill.Written))
		w.partUntil(partSync, w.clock(w.spill.Synced))
	}
	if c.spilled && !bySpill {
		w.partUntil(partQueue, w.sent) // the spill failed, and it went to Badger after all
	}
	if !bySpill {
		w.partUntil(partBadger, w.answered)
	}
	w.part(partVisible)
	w.done()
}

func (w *stopwatch) done() {
	w.stats.Total = time.Duration(w.last - w.begin)
	*w.into = w.stats
}

// clock returns a time in nanoseconds of DB.now, 0 for none.
func (w *stopwatch) clock(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return int64(t.Sub(w.db.begin))
}
