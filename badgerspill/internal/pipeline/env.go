package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// Env is what the pipeline needs of what is around it.
type Env struct {
	Badger   Badger
	Log      Log // nil: there is no spill
	Room     Room
	Audience Audience

	// Closing ends when no commit is to wait any longer, because the database is being closed.
	Closing context.Context
	// Background counts work that closing waits for.
	Background *sync.WaitGroup
	// Begin is when the clock of all times in nanoseconds begins.
	Begin time.Time
}

// Badger is where commits go in the state Direct.
type Badger interface {
	// Prepare builds the transaction that carries c, from c.Entries, in c.Prepared. It holds no
	// lock and does not block.
	Prepare(c *Commit) error
	// Send queues c and returns. It is called under the commit lock, in commit order, and Badger
	// keeps that order, but for commits that are Raw. answer is called once, from another
	// goroutine.
	Send(c *Commit, answer func(error))
	// SetDiscardTs says that no version below the newest at or below ts is read any more. Called
	// under the commit lock in managed mode.
	SetDiscardTs(ts uint64)
}

// Prepared is a transaction of Badger's that was built and not sent.
type Prepared interface{ Discard() }

// Log is where commits go in the state Spilling. *spillfile.Log is one. All but Commit and Quiesce
// are called under the commit lock.
type Log interface {
	Empty() bool
	State() spillfile.State
	Rotate(directThrough uint64)
	Enqueue(b *spillfile.Batch, ts uint64)
	EnqueueAll(batches []*spillfile.Batch, ts func(int) uint64, followed bool)
	Relieve()
	// Commit waits until b, which is queued, is written. Pipeline.Spilled is called before it
	// returns.
	Commit(b *spillfile.Batch) error
	// Quiesce waits until nothing is queued, for at most patience (0 is no bound), and reports
	// whether that is so.
	Quiesce(patience time.Duration) bool
}

// Ticket is the room that a commit holds until it has its place: of memory or of the spill, and on
// the disk that it is going to be written to. Until then Room.Cancel gives all of it back; from
// then on Room.Answered or Room.Spilled does, as it is used.
type Ticket struct {
	Way     wbm.Outcome // Direct: to Badger
	Request wbm.Request // what was asked for; Way says what of it was taken
	Claim   int64       // bytes on disk
}

// Room is what commits take up: memory or the spill's capacity, and the disk. Where nothing else is
// said a method does not block, and may be called under the commit lock.
type Room interface {
	// Reserve decides on a way and takes room there, for a ticket. turn is NoTurn, or the cause for
	// which commits must go to the spill before any is reserved room for: then nothing was taken,
	// and it is to be asked again after the turn. It may block as long as w allows, and is called
	// without locks.
	Reserve(req wbm.Request, w *Wait) (t Ticket, turn Cause, err error)
	// Shrink gives back what a ticket for the spill turns out not to need beside exact, and returns
	// the rest.
	Shrink(t Ticket, exact wbm.Request) Ticket
	// Claim takes room for c on the disk of the ticket's way, and returns the ticket with it. After
	// an error the ticket is what it was. again says then that the spill counts as full from now
	// on, and that another way may be open. It may read the disk's free space.
	Claim(t Ticket, c *Commit) (claimed Ticket, again bool, err error)
	// Cancel gives back all that a ticket holds.
	Cancel(t Ticket)

	// Full reports whether the spill takes nothing.
	Full() bool
	// ShouldSpill reports whether the tier sends a commit of so much memory to the spill.
	ShouldSpill(memory int64) bool
	// SetActive says that commits go to the spill, or that they do not.
	SetActive(spilling bool)
	// ForceSpilled takes room for a hedge, whether there is any or not.
	ForceSpilled(b *spillfile.Batch)
	// ForceDirect takes room for a commit that the spill could not write, whether there is any or
	// not, and returns its claim.
	ForceDirect(c *Commit) (claim int64)
	// BadgerTakes reports whether Badger takes writes.
	BadgerTakes() bool

	// Answered accounts for what Badger has answered, before writers wake because of it.
	Answered(c *Commit, err error)
	// Spilled accounts for batches that the log has answered, before writers wake because of it;
	// claimed is the sum of their claims.
	Spilled(batches []*spillfile.Batch, claimed int64)
	// SpillFailed says that the spill is not to be tried for a while.
	SpillFailed()
}

// Audience is who is told: subscribers, listeners, and those who look at the clock. No method
// blocks but Throttle; those that are called under the commit lock say so.
type Audience interface {
	// Throttle waits while a subscriber is too far behind, as long as w allows. Called without
	// locks.
	Throttle(w *Wait) error
	// Match finds out who is told of c, and keeps that in c.Updates.
	Match(c *Commit)
	// Matches returns a number that changes with each new subscriber. Called under the commit lock,
	// as is a Match that follows.
	Matches() uint64
	// Deliver tells of c. Called under the commit lock, in commit order.
	Deliver(c *Commit)

	// TurnedToSpill: commits go to the spill from here on. Called under the commit lock.
	TurnedToSpill(cause Cause, hedged int)
	// TurnedToBadger: they go to Badger again. Called under the commit lock.
	TurnedToBadger(t Turn)
	// StallBegan and StallEnded come in pairs. StallCause is what holds Badger up. Called under the
	// commit lock.
	StallBegan(s *Stall)
	StallEnded(s *Stall)
	StallCause() int

	// InFlight: the first commit is on its way to an idle Badger. Called under the commit lock.
	InFlight()
	// Appended: this goroutine's append took so long.
	Appended(took time.Duration, err error)
	// GivenUp: the spill holds nothing, and could not be written. Closing waits until it has
	// returned. Badger may have answered the commits that were to go there by then.
	GivenUp()
	// AppendFailed: a group of batches could not be written.
	AppendFailed(err error)
	// DiscardEnded: versions may be discarded that were held.
	DiscardEnded()
}

// Turn is one back to Direct.
type Turn struct {
	Held    time.Duration // how long writers were held up by it
	Spilled time.Duration // how long commits went to the spill
	Dropped bool          // what the spill held was to be forgotten
	Err     error         // why the spill could not take its first commits
}

// Options of a pipeline.
type Options struct {
	Managed         bool // the caller owns timestamps
	DetectConflicts bool
	Always          bool   // commits go to the spill whatever the tier says; see Adopt
	LastTs          uint64 // the highest timestamp of any commit
	// ReplayFirst is the log's sequence that must be in Badger before it may discard versions; 0 is
	// none.
	ReplayFirst uint64
	// StallThreshold is the age of the oldest commit in flight at which commits turn to the spill;
	// below 0 they do not.
	StallThreshold time.Duration
	// Memory is what an entry takes of the memory budget on its way to Badger.
	Memory func(keyLen, valueLen int) int64
}
