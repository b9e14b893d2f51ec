package pipeline

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
)

// Pipeline is where all commits of a database pass. It is safe for concurrent use.
type Pipeline struct {
	env Env
	opt Options

	Counters Counters

	closing atomic.Bool // what mu.closed is, or is about to be

	// mu is the commit lock. Under it commits get their place and leave the line, so it is held for
	// microseconds. It is held for longer by a turn to the spill, which copies what is in flight,
	// and by the last step of a hand-over.
	mu struct {
		sync.Mutex
		oracle *oracle
		line   line
		router router
		always bool // commits go to the spill whatever the tier says

		closed  bool
		refusal error // of commits while a drop is under way, or unfinished; nil: there is none
		// set and open while a hand-over keeps new commits from getting their place
		held      chan struct{}
		unordered bool // Log.Rotate was told so

		// why Badger may discard nothing: replay has not come to this sequence of the log (0: it
		// has), and compaction would merge within level 0
		replayFirst uint64
		mergeHold   bool
	}
}

// Counters count since the pipeline was made.
type Counters struct {
	Direct, Hedged, Spilled atomic.Int64 // commits: answered by Badger first; hedged; appended
	SpilledBytes            atomic.Int64 // as written to the log, hedges included
	Stalls, HandOvers       atomic.Int64
	BlockTimeouts           atomic.Int64 // commits that waited too long, but for room
	SpillStarts             [Causes]atomic.Int64
}

// New returns a pipeline in the state Direct.
func New(env Env, opt Options) *Pipeline {
	p := &Pipeline{env: env, opt: opt}
	p.mu.oracle = newOracle(opt.Managed, opt.DetectConflicts, opt.LastTs)
	p.mu.line = line{visible: opt.LastTs, audience: env.Audience}
	p.mu.always = opt.Always
	p.mu.replayFirst = opt.ReplayFirst
	return p
}

// now is a monotonic clock in nanoseconds.
func (p *Pipeline) now() int64 { return int64(time.Since(p.env.Begin)) }

// Begin begins a transaction: it fixes its read timestamp. Its first read must wait for the commit
// that is returned, if there is one. It does not block.
func (p *Pipeline) Begin(s *Snapshot) *Commit {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.oracle.begin(s)
	return p.mu.line.last()
}

// End ends a transaction's hold on old versions. It returns what may be discarded now; ended is
// false if the transaction had ended before.
func (p *Pipeline) End(s *Snapshot) (discardable uint64, ended bool) {
	if s.read == nil { // the transaction's own to write, or done
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.oracle.doneRead(s)
	return p.mu.oracle.discardable(), true
}

// Visible returns the timestamp up to which all commits are acknowledged.
func (p *Pipeline) Visible() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.line.visible
}

// Raise makes the next timestamp higher than ts, which Badger holds or will hold.
func (p *Pipeline) Raise(ts uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.line.visible = max(p.mu.line.visible, ts)
	p.mu.oracle.nextTs = max(p.mu.oracle.nextTs, ts+1)
}

// Dropped says that data was, while commits were stopped: ts is the highest timestamp left.
func (p *Pipeline) Dropped(ts uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.line.visible = ts
}

// DiscardTs returns what SetDiscardTs was given last.
func (p *Pipeline) DiscardTs() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.oracle.discardTs
}

// SetDiscardTs is the caller's word, in managed mode, that he reads no version below the newest at
// or below ts.
func (p *Pipeline) SetDiscardTs(ts uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.oracle.setDiscardTs(ts)
	if !p.discardHeld() {
		p.env.Badger.SetDiscardTs(ts)
	}
}

// discardHeld reports whether Badger may discard nothing. Needs mu.
func (p *Pipeline) discardHeld() bool { return p.mu.replayFirst > 0 || p.mu.mergeHold }

// tellDiscard tells Badger in managed mode what it may discard: otherwise who asks for Progress
// does. Needs mu, or what was told last need not be what holds.
func (p *Pipeline) tellDiscard() {
	if !p.opt.Managed {
		return
	}
	var ts uint64
	if !p.discardHeld() {
		ts = p.mu.oracle.discardTs
	}
	p.env.Badger.SetDiscardTs(ts)
}

// HoldDiscard says whether Badger may discard nothing because of what it merges within level 0.
func (p *Pipeline) HoldDiscard(hold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if hold != p.mu.mergeHold {
		p.mu.mergeHold = hold
		p.tellDiscard()
	}
}

// Replayed says that Badger has the log up to seq, synced.
func (p *Pipeline) Replayed(seq uint64) {
	if p.endReplayHold(seq) {
		p.env.Audience.DiscardEnded()
	}
}

func (p *Pipeline) endReplayHold(seq uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.replayFirst == 0 || seq < p.mu.replayFirst {
		return false
	}
	p.mu.replayFirst = 0
	p.tellDiscard()
	return true
}

// Discardable returns the timestamp at or below which only the newest version of a key can still be
// read; 0 while what replay brings may be older than what Badger has.
func (p *Pipeline) Discardable() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.mu.replayFirst > 0:
		return 0
	case p.opt.Managed:
		return p.mu.oracle.discardTs
	}
	return p.mu.oracle.discardable()
}

// Progress returns the timestamp that comes next, and what Badger may discard, 0 for nothing new.
// In managed mode that is the caller's to say.
func (p *Pipeline) Progress() (nextTs, discard uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.opt.Managed && !p.discardHeld() {
		discard = p.mu.oracle.discardable()
	}
	return p.mu.oracle.nextTs, discard
}

// Close refuses all further commits with badger.ErrBlockedWrites. Those on their way go on: see
// Settle.
func (p *Pipeline) Close() {
	p.mu.Lock()
	p.mu.closed = true
	p.mu.Unlock()
	p.closing.Store(true)
}

// Closed reports whether Close has begun.
func (p *Pipeline) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.closed
}

// Hold keeps closing waiting until Env.Background.Done is called. It returns false if Close has
// begun.
func (p *Pipeline) Hold() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return false
	}
	p.env.Background.Add(1)
	return true
}

// HoldDirect is Hold, and returns false too if commits are refused, or go to the spill.
func (p *Pipeline) HoldDirect() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused() != nil || p.mu.router.state != Direct {
		return false
	}
	p.env.Background.Add(1)
	return true
}

// refused returns why commits are, nil if they are not. Needs mu.
func (p *Pipeline) refused() error {
	if p.mu.refusal == nil && p.mu.closed {
		return badger.ErrBlockedWrites
	}
	return p.mu.refusal
}

// Stop refuses new commits with badger.ErrBlockedWrites, and waits for those on their way. resume
// ends that. It fails if commits are refused already.
func (p *Pipeline) Stop() (resume func(), err error) {
	if err := p.refuse(); err != nil {
		return nil, err
	}
	p.Settle()
	if p.env.Log != nil { // hedges that Badger has answered, but are not appended yet
		p.env.Log.Quiesce(0)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.refusal = nil
	}, nil
}

func (p *Pipeline) refuse() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused() != nil {
		return badger.ErrBlockedWrites
	}
	p.mu.refusal = badger.ErrBlockedWrites
	return nil
}

// Because has commits that Stop refuses be refused with another error.
func (p *Pipeline) Because(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.refusal != nil {
		p.mu.refusal = err
	}
}

// Settle waits until all commits are acknowledged and Badger has answered all that was sent to it.
func (p *Pipeline) Settle() {
	for {
		last, answer := p.onTheirWay()
		switch {
		case last != nil:
			last.done.Wait()
		case answer != nil:
			<-answer
		default:
			return
		}
	}
}

// onTheirWay returns the newest commit that is not acknowledged, or, if all are, what tells of
// Badger's next answer.
func (p *Pipeline) onTheirWay() (last *Commit, answer <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last = p.mu.line.last(); last == nil && p.mu.router.open > 0 {
		answer = p.mu.router.nextAnswer()
	}
	return last, answer
}

// InFlight reports whether Badger has not answered all that was sent to it.
func (p *Pipeline) InFlight() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.router.open > 0
}

// State returns where commits go.
func (p *Pipeline) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.router.state
}

// StateTime returns where commits go, and how long each state has lasted.
func (p *Pipeline) StateTime() (state State, spent [2]time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.mu.router
	spent = r.spent
	spent[r.state] += time.Duration(p.now() - r.since)
	return r.state, spent
}

// LookAgain has commits that wait since Badger takes no more look for another way.
func (p *Pipeline) LookAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.router.lookAgain()
}

// canSpill reports whether the spill takes commits at all.
func (p *Pipeline) canSpill() bool { return p.env.Log != nil && !p.env.Room.Full() }

var _ Log = (*spillfile.Log)(nil)

// ErrPastTheSpill is a fault of this package: the router says Direct, and the spill is not empty.
var ErrPastTheSpill = errors.New("badgerspill: internal fault: the commit would pass others that are still in the spill; " +
	"it was not written. Close the database and open it again")

// Status is what is on its way, for tests and for who looks for a fault.
type Status struct {
	InLine     int  // commits that have their place and are not acknowledged
	InFlight   int  // that Badger has not answered
	Waiting    bool // somebody waits for Badger's answer
	StallCause int  // of the stall under way, -1 for none
	MergeHeld  bool // see HoldDiscard
	Remembered int  // keys that a commit may conflict with
	Recent     int  // commits that they are of
}

// Status counts what is on its way: it takes the commit lock for as long as that takes.
func (p *Pipeline) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, o := &p.mu.router, p.mu.oracle
	s := Status{InFlight: r.open, Waiting: r.answer != nil, StallCause: -1, MergeHeld: p.mu.mergeHold,
		Remembered: len(o.lastCommit), Recent: len(o.recent)}
	for c := p.mu.line.head; c != nil; c = c.next {
		s.InLine++
	}
	if r.stall != nil {
		s.StallCause = r.stall.Cause
	}
	return s
}
