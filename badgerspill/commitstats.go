package badgerspill

import (
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/pipeline"
)

// CommitAnswer says who had a commit first, so that it could be acknowledged.
type CommitAnswer int

// The answers.
const (
	// AnsweredByNobody: the commit failed, or there was nothing to commit.
	AnsweredByNobody = CommitAnswer(pipeline.ByNobody)
	AnsweredByBadger = CommitAnswer(pipeline.ByBadger)
	AnsweredBySpill  = CommitAnswer(pipeline.BySpill)
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
		txn.makeExtras().measure = &measure{into: into}
	} else if txn.extras != nil {
		txn.extras.measure = nil
	}
}

// measure is a CommitStats that was asked for. A nil one does nothing.
type measure struct {
	trace pipeline.Trace
	into  *CommitStats
}

func (m *measure) start() {
	if m != nil {
		m.trace.Start()
		*m.into = CommitStats{}
	}
}

// times returns what takes the times, nil for nothing.
func (m *measure) times() *pipeline.Trace {
	if m == nil {
		return nil
	}
	return &m.trace
}

// done fills in what was asked for.
func (m *measure) done() {
	if m == nil {
		return
	}
	t := &m.trace
	*m.into = CommitStats{
		Total:    t.Total,
		Conflict: t.Spent[pipeline.PartConflict],
		Room:     t.Spent[pipeline.PartRoom],
		Encode:   t.Spent[pipeline.PartEncode],
		Queue:    t.Spent[pipeline.PartQueued],
		Append:   t.Spent[pipeline.PartAppend],
		Sync:     t.Spent[pipeline.PartSync],
		Badger:   t.Spent[pipeline.PartToBadger],
		Visible:  t.Spent[pipeline.PartVisible],

		AnsweredBy: CommitAnswer(t.By), Hedged: t.Hedged,
	}
}
