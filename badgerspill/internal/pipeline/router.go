package pipeline

import (
	"errors"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/badgerspill/badgerspill/spillfile"
)

// State is where commits go.
type State int32

// The router is in one of two states, and I1 is the reason that there are only two: while the spill
// holds anything, every commit goes there.
//
//	          one of the causes below: hedge what is in flight
//	Direct ─────────────────────────────────────────────────────────────────────────► Spilling
//	  ▲                                                                                   │
//	  └───────────────────────────────────────────────────────────────────────────────────┘
//	     hand-over: all of the spill is in Badger and nothing was appended since
//	     | the first append failed: those commits go to Badger after all
//	     | all that the spill held was dropped
const (
	Direct   State = iota // the spill is empty, commits go to Badger
	Spilling              // the spill holds commits, or is about to; commits are appended to it
)

// Cause says why the router turned to the spill. The package comment says who decides on each. A
// new one gets its name and its word in SpillCause of badgerspill, too, and a line in
// docs/concepts.md.
type Cause int

// The causes.
const (
	CauseMemory   Cause = iota // the memory tier is Spill
	CauseStall                 // the oldest commit in flight to Badger passed StallThreshold
	CauseQueue                 // too many commits are in flight to Badger
	CauseRecovery              // the spill was found to hold commits
	CausePolicy                // commits are to go there always
	CauseSpace                 // Badger's volume is low on space, and the spill has another
	CauseRate                  // commits come so fast that Badger will stall
	CauseHeld                  // Badger gets no writes
	Causes

	NoTurn Cause = -1 // there is no reason to turn
)

// MaxInFlight bounds the commits in flight to Badger. It is well below the 1,000 of Badger's write
// channel, so that a send, which happens under the commit lock, never blocks.
const MaxInFlight = 256

// maxInFlightBytes bounds their keys and values: a turn to the spill copies them under the commit
// lock. One commit may be larger.
const maxInFlightBytes = 32 << 20

// router is where commits go, and what is on its way to Badger. Guarded by the commit lock.
type router struct {
	state State
	asked []*Commit        // sent to Badger, in commit order; the first has no answer yet
	open  int              // commits in asked without an answer
	bytes int64            // of those
	stall *Stall           // the one that has begun and not ended
	since int64            // of state, in nanoseconds of Pipeline.now
	spent [2]time.Duration // in each state before

	// closed at the next answer, or when there is another way, made by who waits for that
	answer chan struct{}
}

// full reports whether Badger should get no more commits for now.
func (r *router) full() bool { return r.open >= MaxInFlight || r.bytes >= maxInFlightBytes }

// nextAnswer returns a channel that is closed when Badger answers next, or by lookAgain.
func (r *router) nextAnswer() <-chan struct{} {
	if r.answer == nil {
		r.answer = make(chan struct{})
	}
	return r.answer
}

// lookAgain wakes who waits for an answer.
func (r *router) lookAgain() {
	if r.answer != nil {
		close(r.answer)
		r.answer = nil
	}
}

// Stall is a time in which Badger did not answer within StallThreshold.
type Stall struct {
	Commits int           // in flight when it was seen
	Lasted  time.Duration // since the oldest of them was sent, until it was seen, or has ended
	Cause   int           // Audience.StallCause, the most exact so far
	Told    bool          // Audience's own

	begin int64
}

// ask sends c to Badger. Needs mu: the order of sends is the commit order.
func (p *Pipeline) ask(c *Commit) {
	r := &p.mu.router
	c.inBadger, c.start = true, p.now()
	c.trace.wasSent()
	r.asked = append(r.asked, c)
	r.open++
	r.bytes += c.RawBytes
	if r.open == 1 {
		p.env.Audience.InFlight()
	}
	p.env.Badger.Send(c, func(err error) { p.answered(c, err) })
}

// answered is Badger's answer to c.
func (p *Pipeline) answered(c *Commit, err error) {
	acked := p.settleAnswer(c, err)
	// Before the writer wakes: he finds his bytes accounted for.
	p.env.Room.Answered(c, err)
	acked.wake()
}

func (p *Pipeline) settleAnswer(c *Commit, err error) (acked ackList) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.mu.router
	c.inBadger = false
	r.open--
	r.bytes -= c.RawBytes
	n := 0
	for n < len(r.asked) && !r.asked[n].inBadger {
		r.asked[n] = nil
		n++
	}
	if n == len(r.asked) {
		r.asked = r.asked[:0]
	} else {
		r.asked = r.asked[n:]
	}
	r.lookAgain()
	if r.stall != nil && r.open == 0 {
		r.stall.Lasted = time.Duration(p.now() - r.stall.begin)
		p.env.Audience.StallEnded(r.stall)
		r.stall = nil
	}
	if !c.settled {
		c.trace.answeredBadger(err)
	}
	switch {
	case err == nil:
		if !c.settled {
			p.Counters.Direct.Add(1)
		}
		p.mu.line.settle(c, nil, &acked)
	case c.hedge != nil:
		c.refused = err // the spill decides, or has
	default:
		p.mu.line.settle(c, err, &acked)
	}
	return acked
}

// turn changes the state and returns how long the other one lasted. Needs mu.
func (p *Pipeline) turn(to State) time.Duration {
	r, now := &p.mu.router, p.now()
	lasted := time.Duration(now - r.since)
	r.spent[r.state] += lasted
	r.state, r.since = to, now
	r.lookAgain() // commits that wait since Badger takes no more have another way now
	p.env.Room.SetActive(to == Spilling)
	return lasted
}

// startSpilling makes the transition to Spilling. Needs mu.
//
// All that is in flight to Badger is hedged: appended in order, with its timestamps, before any new
// commit. So it is acknowledged from there however long Badger takes, and the spill's order is the
// commit order. followed says that the caller enqueues a batch of its own next, which
// carries the hedges along. Otherwise the last hedge is returned, if there is one, and the caller
// must pass it to Log.Commit after releasing the lock.
func (p *Pipeline) startSpilling(cause Cause, followed bool) (last *spillfile.Batch) {
	r := &p.mu.router
	p.turn(Spilling)
	directThrough := p.mu.oracle.nextTs - 1
	if p.opt.Managed || p.mu.oracle.ahead || slices.ContainsFunc(r.asked, func(c *Commit) bool { return c.Load }) {
		directThrough, p.mu.unordered = spillfile.Unordered, true
	}
	p.env.Log.Rotate(directThrough)
	// Those too that Badger has answered before an earlier one: what the spill left out it would
	// hide. By the order of the line none of them is acknowledged, so they have their entries.
	var hedges []*spillfile.Batch
	for _, c := range r.asked {
		if c.err != nil {
			continue
		}
		c.hedge = c.encoded()
		if !c.settled {
			c.trace.wasHedged()
		}
		p.env.Room.ForceSpilled(c.hedge)
		hedges = append(hedges, c.hedge)
	}
	p.env.Log.EnqueueAll(hedges, func(i int) uint64 { return hedges[i].Owner.(*Commit).Ts }, followed)
	p.turnedToSpill(cause, len(hedges))
	if followed || len(hedges) == 0 {
		return nil
	}
	return hedges[len(hedges)-1]
}

// turnedToSpill tells of it. Needs mu.
func (p *Pipeline) turnedToSpill(cause Cause, hedged int) {
	p.Counters.SpillStarts[cause].Add(1)
	p.env.Audience.TurnedToSpill(cause, hedged)
}

// Recovered begins in the state Spilling, before the first commit: the log holds commits, or is to
// get all.
func (p *Pipeline) Recovered(cause Cause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(Spilling)
	if p.opt.Managed {
		p.env.Log.Rotate(spillfile.Unordered)
	}
	p.turnedToSpill(cause, 0)
}

// ErrNoSpill ends a turn that was decided on while there still was a spill, or room in it.
var ErrNoSpill = errors.New("badgerspill: the spill takes no commits any more")

// TurnToSpill sends commits to the spill from now on. It returns badger.ErrBlockedWrites if no
// commits are taken, and ErrNoSpill if the spill takes none by now. It blocks until what was in
// flight to Badger is in the spill.
func (p *Pipeline) TurnToSpill(cause Cause) error {
	hedges, err := p.tryTurn(cause)
	hedges.append()
	return err
}

func (p *Pipeline) tryTurn(cause Cause) (hedges, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.refused() != nil:
		return hedges{}, badger.ErrBlockedWrites
	case p.mu.router.state == Spilling:
		return hedges{}, nil
	case !p.canSpill(): // it was turned off meanwhile
		return hedges{}, ErrNoSpill
	}
	return p.spillFromHere(cause), nil
}

// hedges are those of a turn to the spill that no commit carries along. Whoever has made the turn
// appends them, once he has released the commit lock. The zero value is none.
type hedges struct {
	p    *Pipeline
	last *spillfile.Batch // nil: nothing was in flight
}

// append blocks until they are in the spill.
func (h hedges) append() {
	if h.p == nil {
		return
	}
	defer h.p.env.Background.Done()
	if h.last != nil {
		_ = h.p.env.Log.Commit(h.last)
	}
}

// spillFromHere makes the transition to Spilling where the caller has no commit that follows. The
// caller must append the hedges. Needs mu.
func (p *Pipeline) spillFromHere(cause Cause) hedges {
	p.env.Background.Add(1) // closing waits for the append
	return hedges{p, p.startSpilling(cause, false)}
}

// Adopt changes the policy. adopt is called under the commit lock, and commits turn to the spill at
// once if they are to go there always and toSpill is true. ErrDBClosed and ErrBlockedWrites of
// Badger say that nothing was changed.
func (p *Pipeline) Adopt(always, toSpill bool, adopt func()) error {
	hedges, err := p.adopt(always, toSpill, adopt)
	hedges.append()
	return err
}

func (p *Pipeline) adopt(always, toSpill bool, adopt func()) (hedges, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return hedges{}, badger.ErrDBClosed
	}
	if p.mu.refusal != nil {
		return hedges{}, badger.ErrBlockedWrites
	}
	p.mu.always = always
	adopt()
	p.mu.router.lookAgain() // a full queue to Badger turns to the spill
	if always && toSpill && p.mu.router.state == Direct {
		return p.spillFromHere(CausePolicy), nil
	}
	return hedges{}, nil
}

// CheckStall turns to the spill if the oldest commit in flight is older than StallThreshold. It
// returns how long until that may be the case. It blocks for the append then.
func (p *Pipeline) CheckStall() time.Duration {
	next, hedges := p.lookForStall()
	hedges.append()
	return next
}

func (p *Pipeline) lookForStall() (next time.Duration, _ hedges) {
	threshold := p.opt.StallThreshold
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.mu.router
	if threshold < 0 || r.open == 0 || r.state == Spilling {
		if r.stall != nil {
			r.stall.Cause = max(r.stall.Cause, p.env.Audience.StallCause())
		}
		return threshold, hedges{}
	}
	now := p.now()
	if age := time.Duration(now - r.asked[0].start); age < threshold {
		return threshold - age, hedges{}
	}
	if !p.canSpill() {
		return threshold, hedges{}
	}
	if r.stall == nil {
		begin := r.asked[0].start
		r.stall = &Stall{begin: begin, Lasted: time.Duration(now - begin), Commits: r.open, Cause: p.env.Audience.StallCause()}
		p.Counters.Stalls.Add(1)
		p.env.Audience.StallBegan(r.stall)
	}
	return threshold, p.spillFromHere(CauseStall)
}

// Spilled is called by the log's leader for each group of batches, in order, before their
// goroutines are woken.
func (p *Pipeline) Spilled(batches []*spillfile.Batch, err error) {
	acked, claimed, emptied := p.settleSpilled(batches, err)
	p.env.Room.Spilled(batches, claimed)
	if emptied {
		p.env.Audience.GivenUp()
		p.env.Background.Done()
	}
	acked.wake()
	if err != nil {
		p.env.Audience.AppendFailed(err)
	}
}

// settleSpilled settles a group. emptied says that the log holds nothing, and could not be written;
// closing waits until that is told: no commit of the group need be on its way any more.
func (p *Pipeline) settleSpilled(batches []*spillfile.Batch, err error) (acked ackList, claimed int64, emptied bool) {
	var commits, hedged, written int64
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range batches {
		c := b.Owner.(*Commit)
		if c.hedge == b { // its own claim is for its way to Badger
			claimed += b.DiskSize()
		} else {
			claimed += c.Claim
		}
		if !c.settled {
			c.trace.answeredSpill(b, err)
		}
		if err != nil {
			continue
		}
		written += b.Size()
		if c.hedge == b {
			if !c.settled {
				hedged++
			}
		} else {
			commits++
		}
		p.mu.line.settle(c, nil, &acked)
	}
	p.Counters.Spilled.Add(commits)
	p.Counters.SpilledBytes.Add(written)
	p.Counters.Hedged.Add(hedged)
	if err != nil {
		emptied = p.spillFailed(batches, err, &acked)
	}
	if emptied {
		p.env.Background.Add(1)
	}
	return acked, claimed, emptied
}

// spillFailed handles batches that the spill could not take. It reports whether the log holds
// nothing. Needs mu.
//
// If the spill holds nothing else, they go to Badger after all: all earlier commits are there or in
// its queue, and all later ones are behind them in the log's queue, so I1 holds. Otherwise they
// fail.
func (p *Pipeline) spillFailed(batches []*spillfile.Batch, err error, acked *ackList) (emptied bool) {
	st := p.env.Log.State()
	// not LiveBatches: what is replayed is in the view until its segment is dropped
	fresh := st.LiveSegments == 0 && p.env.Room.BadgerTakes()
	p.env.Room.SpillFailed()
	for _, b := range batches {
		c := b.Owner.(*Commit)
		switch {
		case c.hedge == b:
			c.hedge = nil
			if c.refused != nil {
				p.mu.line.settle(c, c.refused, acked)
			}
		case fresh && p.mu.router.open < 3*MaxInFlight && !p.mu.always:
			c.own()
			c.Claim = p.env.Room.ForceDirect(c)
			p.ask(c)
		default:
			p.mu.line.settle(c, err, acked)
		}
	}
	if st.LiveSegments > 0 || st.Queued > 0 || p.mu.always {
		return false
	}
	if p.mu.router.state == Spilling {
		p.env.Audience.TurnedToBadger(Turn{Spilled: p.turn(Direct), Err: err})
	}
	return true
}

// HandOver makes the transition from Spilling to Direct, if it can. New commits wait meanwhile, and
// patience bounds how long they wait for the log's queue.
//
// last is called under the commit lock, when nothing is queued or on its way to Badger. It brings
// what is left of the log to Badger, has the log say so, and reports whether all of it is there.
// If so the state is Direct, unless commits are to go to the spill always. done is what last said,
// or true in the state Direct; turned says that the state has changed.
func (p *Pipeline) HandOver(patience time.Duration, last func() (bool, error)) (done, turned bool, err error) {
	begin := p.now()
	open := p.HoldCommits()
	defer open()
	p.env.Log.Quiesce(patience)
	return p.tryHandOver(begin, last)
}

// HoldCommits makes commits that are about to get their place wait until open is called. With
// several writers the log's queue is hardly ever empty on its own, and a hand-over needs that.
func (p *Pipeline) HoldCommits() (open func()) {
	held := make(chan struct{})
	set := func(c chan struct{}) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.held = c
	}
	set(held)
	return func() {
		set(nil)
		close(held)
	}
}

func (p *Pipeline) tryHandOver(begin int64, last func() (bool, error)) (done, turned bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.router.state == Direct {
		return true, false, nil
	}
	// The log counts a group as answered before it tells of it: then the line still has it.
	if p.env.Log.State().Queued > 0 || p.mu.router.open > 0 || p.mu.line.last() != nil {
		return false, false, nil
	}
	if done, err = last(); !done || err != nil || p.mu.always {
		return done, false, err
	}
	p.env.Log.Relieve() // of the index that is ready for the next segment, if nothing was appended
	spilled := p.turn(Direct)
	p.Counters.HandOvers.Add(1)
	// Under the lock, so that it comes before the next turn to the spill.
	p.env.Audience.TurnedToBadger(Turn{Held: time.Duration(p.now() - begin), Spilled: spilled})
	return true, true, nil
}

// Emptied says that all the log held was dropped: commits go to Badger, unless they are to go to
// the spill always.
func (p *Pipeline) Emptied() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.router.state == Spilling && !p.mu.always {
		p.env.Audience.TurnedToBadger(Turn{Spilled: p.turn(Direct), Dropped: true})
	}
}
