package badgerspill

import (
	"errors"
	"slices"
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// RouterState is where commits go.
type RouterState int32

// The router is in one of two states, and invariant I1 is the reason that there are only two: while
// the spill holds anything, every commit goes there.
//
//	          memory tier Spill | stall | queue full | rate: hedge what is in flight
//	Direct ─────────────────────────────────────────────────────────────────────────► Spilling
//	  ▲                                                                                   │
//	  └───────────────────────────────────────────────────────────────────────────────────┘
//	     hand-over: all of the spill is in Badger and nothing was appended since
//	     | the first append failed: those commits go to Badger after all
const (
	// Direct: the spill is empty, commits go to Badger.
	Direct RouterState = iota
	// Spilling: the spill holds commits, or is about to; commits are appended to it.
	Spilling
)

// String returns the name of the state.
func (s RouterState) String() string {
	if s == Direct {
		return "direct"
	}
	return "spilling"
}

// maxInFlight bounds the commits in flight to Badger. It is well below the 1,000 of Badger's write
// channel, so that a send, which happens under the commit lock, never blocks.
const maxInFlight = 256

// maxInFlightBytes bounds their keys and values: a turn to the spill copies them under the commit
// lock. One commit may be larger.
const maxInFlightBytes = 32 << 20

// router routes commits. Guarded by DB.mu.
type router struct {
	state RouterState
	asked []*commit        // sent to Badger, in commit order; the first has no answer yet
	open  int              // commits in asked without an answer
	bytes int64            // of those
	stall *stall           // the stall that has begun and not ended
	since int64            // of state, in nanoseconds of DB.now
	spent [2]time.Duration // in each state before

	// closed at the next answer, or when there is another way, made by who waits for that
	answer chan struct{}
}

// full reports whether Badger should get no more commits for now. Needs DB.mu.
func (r *router) full() bool { return r.open >= maxInFlight || r.bytes >= maxInFlightBytes }

// nextAnswer returns a channel that is closed when Badger answers next, or by lookAgain. Needs
// DB.mu.
func (r *router) nextAnswer() <-chan struct{} {
	if r.answer == nil {
		r.answer = make(chan struct{})
	}
	return r.answer
}

// lookAgain wakes who waits for an answer. Needs DB.mu.
func (r *router) lookAgain() {
	if r.answer != nil {
		close(r.answer)
		r.answer = nil
	}
}

type stall struct {
	begin   int64
	commits int
	cause   StallCause
	told    bool // the listener knows of it
}

// ask sends c to Badger. Needs DB.mu: the order of sends is the commit order.
func (db *DB) ask(c *commit) {
	r := &db.router
	c.inBadger, c.start = true, db.now()
	if c.watch != nil {
		c.watch.sent = c.start
	}
	r.asked = append(r.asked, c)
	r.open++
	r.bytes += c.rawBytes
	if r.open == 1 {
		db.watch.wake()
	}
	db.engine.send(c, func(err error) { db.answered(c, err) })
}

// answered is Badger's answer to c.
func (db *DB) answered(c *commit, err error) {
	db.mu.Lock()
	r := &db.router
	c.inBadger = false
	r.open--
	r.bytes -= c.rawBytes
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
		db.events.stallEnd(r.stall, db.now())
		r.stall = nil
	}
	var acked ackList
	if !c.settled {
		c.watch.answeredBadger(err)
	}
	switch {
	case err == nil:
		if !c.settled {
			db.counters.direct.Add(1)
		}
		db.line.settle(c, nil, &acked)
	case c.hedge != nil:
		c.refused = err // the spill decides, or has
	default:
		db.line.settle(c, err, &acked)
	}
	db.mu.Unlock()
	// Before the acknowledgement: who is acknowledged finds his bytes accounted for.
	if err == nil {
		db.memtables.took(c.memory, c.ts)
	} else {
		db.account.Release(wbm.InFlight, c.memory)
	}
	db.space.settle(c.claim)
	acked.acknowledge()
}

// turn changes the state and returns how long the other one lasted. Needs DB.mu.
func (db *DB) turn(to RouterState) time.Duration {
	r, now := &db.router, db.now()
	lasted := time.Duration(now - r.since)
	r.spent[r.state] += lasted
	r.state, r.since = to, now
	r.lookAgain() // commits that wait since Badger takes no more have another way now
	db.spill.SetActive(to == Spilling)
	return lasted
}

// startSpilling makes the transition to Spilling. Needs DB.mu.
//
// All that is in flight to Badger is hedged: appended in order, with its timestamps, before any new
// commit, so that it is acknowledged from there however long Badger takes, and so that the spill's
// order is the commit order. followed says that the caller enqueues a batch of its own next, which
// carries the hedges along. Otherwise the last hedge is returned, if there is one, and the caller
// must pass it to log.Commit after releasing the lock.
func (db *DB) startSpilling(cause SpillCause, followed bool) (last *spillfile.Batch) {
	r := &db.router
	db.turn(Spilling)
	directThrough := db.orc.nextTs - 1
	if db.opt.managed || db.orc.ahead || slices.ContainsFunc(r.asked, func(c *commit) bool { return c.load }) {
		directThrough, db.unordered = spillfile.Unordered, true
	}
	db.log.Rotate(directThrough)
	// Those too that Badger has answered before an earlier one: what the spill left out it would
	// hide. By the order of the line none of them is acknowledged, so they have their entries.
	var hedges []*spillfile.Batch
	for _, c := range r.asked {
		if c.err != nil {
			continue
		}
		c.hedge = spillfile.NewBatch()
		for i := range c.entries {
			c.hedge.Add(&c.entries[i])
		}
		c.hedge.Finish()
		c.hedge.Owner, c.hedge.Times = c, c.watch.batchTimes()
		if c.watch != nil && !c.settled {
			c.watch.hedged, c.watch.stats.Hedged = db.now(), true
		}
		db.spill.Force(c.hedge.DiskSize(), c.hedge.IndexSize())
		db.space.force(c.hedge.DiskSize())
		hedges = append(hedges, c.hedge)
	}
	db.log.EnqueueAll(hedges, func(i int) uint64 { return hedges[i].Owner.(*commit).ts }, followed)
	db.wakeReplay() // the first append does so, too, but there may be none
	db.counters.spillStarts[cause].Add(1)
	db.events.spillBegin(cause, len(hedges))
	if followed || len(hedges) == 0 {
		return nil
	}
	return hedges[len(hedges)-1]
}

// canSpill reports whether the spill takes commits at all.
func (db *DB) canSpill() bool {
	return db.log != nil && !db.spill.IsSpilloverFull(0, 0)
}

// errNoSpill ends a turn that was decided on while there still was a spill, or room in it.
var errNoSpill = errors.New("badgerspill: the spill takes no commits any more")

// turnToSpill sends commits to the spill from now on. It returns ErrBlockedWrites if no commits are
// taken, and errNoSpill if the spill takes none by now.
func (db *DB) turnToSpill(cause SpillCause) error {
	hedges, err := db.tryTurn(cause)
	hedges.append()
	return err
}

func (db *DB) tryTurn(cause SpillCause) (hedges, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	switch {
	case db.closed || db.dropping:
		return hedges{}, ErrBlockedWrites
	case db.router.state == Spilling:
		return hedges{}, nil
	case !db.canSpill(): // SetSpillPolicy has turned it off
		return hedges{}, errNoSpill
	}
	return db.spillFromHere(cause), nil
}

// hedges are those of a turn to the spill that no commit carries along. Whoever has made the turn
// appends them, once he has released the commit lock. The zero value is none.
type hedges struct {
	db   *DB
	last *spillfile.Batch // nil: nothing was in flight
}

// append blocks until they are in the spill.
func (h hedges) append() {
	if h.db == nil {
		return
	}
	defer h.db.background.Done()
	if h.last != nil {
		_ = h.db.log.Commit(h.last)
	}
}

// spillFromHere makes the transition to Spilling where the caller has no commit that follows. The
// caller must append the hedges. Needs DB.mu.
func (db *DB) spillFromHere(cause SpillCause) hedges {
	db.background.Add(1) // Close waits for the append
	return hedges{db, db.startSpilling(cause, false)}
}

// checkRate turns to the spill if commits come at SpillRate or faster. What the first of them would
// wait for on disk is made before, in the background: Badger keeps up, so there is no hurry.
func (db *DB) checkRate() {
	if db.commits == nil {
		return
	}
	direct := db.counters.direct.Load()
	going := direct != db.watch.lastDirect // the rate tells of the past
	db.watch.lastDirect = direct
	if !going || db.commits.Rate() < db.opt.Tuning.SpillRate || db.turning.Load() || !db.canSpill() {
		return
	}
	db.mu.Lock()
	begin := !db.closed && !db.dropping && db.router.state == Direct
	if begin {
		db.turning.Store(true)
		db.background.Add(1)
	}
	db.mu.Unlock()
	if !begin {
		return
	}
	go func() {
		defer db.background.Done()
		defer db.turning.Store(false)
		err := errors.Join(db.interlock.set(), db.log.Prepare())
		if err != nil {
			db.spillBroken.Store(db.now() + int64(spillRetry))
			err = errors.Join(err, db.interlock.drop())
			db.events.backgroundError("prepare the spill", err, "commits go to Badger, and it is tried again; look at the disk of SpillDir")
			return
		}
		db.spillUse.refresh()
		if db.turnToSpill(CauseRate) != nil {
			_ = db.interlock.drop() // Close does it again
			db.log.Relieve()        // of the index that nobody will use
		}
	}()
}

// checkStall turns to the spill if the oldest commit in flight is older than StallThreshold. It
// returns how long until that may be the case.
func (db *DB) checkStall() int64 {
	next, hedges := db.lookForStall()
	hedges.append()
	return next
}

func (db *DB) lookForStall() (next int64, _ hedges) {
	threshold := int64(db.opt.StallThreshold)
	db.mu.Lock()
	defer db.mu.Unlock()
	r := &db.router
	if threshold < 0 || r.open == 0 || r.state == Spilling {
		if r.stall != nil {
			r.stall.cause = max(r.stall.cause, db.memtables.stallCause())
		}
		return max(threshold, minWatch), hedges{}
	}
	if age := db.now() - r.asked[0].start; age < threshold {
		return max(threshold-age, minWatch), hedges{}
	}
	if !db.canSpill() {
		return threshold, hedges{}
	}
	if r.stall == nil {
		r.stall = &stall{begin: r.asked[0].start, commits: r.open, cause: db.memtables.stallCause()}
		db.counters.stalls.Add(1)
		db.events.stallBegin(r.stall, db.now())
	}
	return threshold, db.spillFromHere(CauseStall)
}

// spilled is called by the log's leader for each group of batches, in order, before their
// goroutines are woken.
func (db *DB) spilled(batches []*spillfile.Batch, err error) {
	var acked ackList
	var commits, hedged, claimed, written int64
	db.mu.Lock()
	for _, b := range batches {
		c := b.Owner.(*commit)
		if c.hedge == b { // its own claim is for its way to Badger
			claimed += b.DiskSize()
		} else {
			claimed += c.claim
		}
		if !c.settled {
			c.watch.answeredSpill(b, err)
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
		db.line.settle(c, nil, &acked)
	}
	if err != nil {
		db.spillFailed(batches, err, &acked)
	}
	db.mu.Unlock()
	db.spillUse.written(batches)
	db.space.settle(claimed)
	db.counters.spilled.Add(commits)
	db.counters.spilledBytes.Add(written)
	db.counters.hedged.Add(hedged)
	acked.acknowledge()
	if err != nil {
		db.events.backgroundError("append to the spill", err, "commits go to Badger while nothing else is spilled, else they fail until SpillDir can be written")
	}
}

// spillFailed handles batches that the spill could not take. Needs DB.mu.
//
// If the spill holds nothing else, they go to Badger after all: all earlier commits are there or in
// its queue, and all later ones are behind them in the log's queue, so I1 holds. Otherwise they
// fail.
func (db *DB) spillFailed(batches []*spillfile.Batch, err error, acked *ackList) {
	st := db.log.State()
	// not LiveBatches: what is replayed is in the view until its segment is dropped
	fresh := st.LiveSegments == 0 && db.space.badger.low.Load() == nil && db.guard.blocked() == nil
	db.spillBroken.Store(db.now() + int64(spillRetry))
	for _, b := range batches {
		c := b.Owner.(*commit)
		switch {
		case c.hedge == b:
			c.hedge = nil
			if c.refused != nil {
				db.line.settle(c, c.refused, acked)
			}
		case fresh && db.router.open < 3*maxInFlight && db.policy() != Always:
			c.own()
			db.account.Force(wbm.InFlight, c.memory)
			c.claim = c.spaceCost(wbm.Direct)
			db.space.force(c.claim)
			db.ask(c)
		default:
			db.line.settle(c, err, acked)
			fresh = false // later ones must not overtake in time what the caller may retry
		}
	}
	if st.LiveSegments == 0 && st.Queued == 0 && db.policy() != Always {
		if db.router.state == Spilling {
			db.events.handOver(HandOverInfo{Spilled: db.turn(Direct), Err: err})
		}
		db.inBackground(func() {
			if err := db.interlock.drop(); err != nil {
				db.events.backgroundError("remove the interlock", err, "plain Badger refuses to open Dir until it is gone; it is tried again when the spill is empty next")
			}
		})
	}
}
