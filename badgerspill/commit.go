package badgerspill

import (
	"errors"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// The walk of a write: Txn.Commit -> submit -> enter: admit (way, memory or spill, disk) -> place
// (conflicts, timestamp, queue, under the commit lock) -> await (append by this goroutine, or
// Badger's answer) -> acknowledged in commit order.

func (db *DB) newCommit(txn *Txn) *commit {
	c := &commit{ts: txn.commitTs, writes: txn.writes, load: txn.load, watch: txn.watch()}
	c.done.Add(1)
	if db.opt.DetectConflicts && !c.load {
		c.keys = c.oneKey[:0]
		if n := c.writes.len(); n > len(c.oneKey) {
			c.keys = make([]uint64, 0, n)
		}
	}
	for e := range c.writes.all() {
		c.memory += memoryCost(len(e.Key), len(e.Value), db.opt.ValueThreshold)
		c.keyBytes += int64(len(e.Key))
		c.rawBytes += int64(len(e.Key) + len(e.Value))
		c.raw = c.raw || c.load || e.version != 0 || e.meta&^(metaDelete|metaDiscardEarlier) != 0
		c.highest = max(c.highest, e.version)
		if db.opt.DetectConflicts && !c.load {
			c.keys = append(c.keys, fingerprint(e.Key))
		}
	}
	return c
}

// own copies what the transaction wrote: Badger, or a hedge, may read it after Commit has returned
// and the caller has reused his buffers. Until then they are the caller's own word to leave alone.
func (c *commit) own() {
	if c.entries != nil {
		return
	}
	c.entries = make([]spillfile.Entry, 0, c.writes.len())
	var slab []byte
	if c.rawBytes <= ownSlab {
		slab = make([]byte, 0, c.rawBytes)
	}
	for e := range c.writes.all() {
		if n := len(e.Key) + len(e.Value); cap(slab)-len(slab) < n {
			slab = make([]byte, 0, n)
		}
		at := len(slab)
		slab = append(append(slab, e.Key...), e.Value...)
		mid := at + len(e.Key)
		c.entries = append(c.entries, spillfile.Entry{Key: slab[at:mid:mid], Value: slab[mid:len(slab):len(slab)],
			Version: e.version, ExpiresAt: e.ExpiresAt, Meta: e.meta, UserMeta: e.UserMeta})
	}
}

// ownSlab is up to where one allocation for all keys and values is cheaper than one for each entry:
// it is zeroed first.
const ownSlab = 8 << 10

// encode makes the batch for the spill. It needs no lock.
func (c *commit) encode() {
	c.batch = spillfile.NewBatch()
	for e := range c.writes.all() {
		c.batch.Add(&spillfile.Entry{Key: e.Key, Value: e.Value, Version: e.version, ExpiresAt: e.ExpiresAt,
			Meta: e.meta, UserMeta: e.UserMeta})
	}
	c.batch.Finish()
	c.batch.Owner, c.batch.Times = c, c.watch.batchTimes()
}

// request is what c needs of memory or of the spill. Before it is encoded its size in the spill is
// estimated from above.
func (c *commit) request() wbm.Request {
	if c.batch != nil {
		return wbm.Request{Memory: c.memory, Spill: c.batch.DiskSize(), Index: c.batch.IndexSize()}
	}
	return wbm.Request{
		Memory: c.memory,
		Spill:  spillfile.EstimateDiskSize(c.writes.len(), c.keyBytes, c.rawBytes),
		Index:  spillfile.EstimateIndexSize(c.writes.len(), c.keyBytes, c.rawBytes),
	}
}

// submit gives the transaction its place in the commit order and sends it on its way. It may block
// for room, as long as the transaction's context and BlockTimeout allow.
func (db *DB) submit(txn *Txn) (*commit, error) {
	txn.watch().start()
	if txn.numIterators.Load() == 0 { // else Discard panics
		txn.releaseViews()
	}
	c := db.newCommit(txn)
	wait := db.patienceOf(txn.context())
	if err := db.enter(txn, c, &wait); err != nil {
		c.giveUpInner()
		txn.watch().failed()
		return nil, err
	}
	db.rate.Add(c.memory)
	if db.commits != nil && db.policy() == Auto {
		db.commits.Add(1)
	}
	return c, nil
}

// enter admits c and places it, again and again until it has its place or must not wait any longer.
// What it holds meanwhile is in the ticket.
func (db *DB) enter(txn *Txn, c *commit, wait *patience) error {
	c.watch.part(partConflict)
	if err := db.publisher.throttle(wait); err != nil {
		return err
	}
	c.watch.part(partRoom)
	c.updates = db.publisher.updatesOf(c)
	if c.updates != nil {
		c.watch.part(partEncode)
	}
	for {
		t, err := db.admit(c, wait)
		if err != nil {
			if errors.Is(err, ErrNoSpace) {
				db.counters.noSpace.Add(1)
			}
			return err
		}
		placed, err := db.place(txn, c, t.way, wait)
		if placed {
			return nil
		}
		t.cancel()
		if err != nil {
			return err
		}
	}
}

// ticket is the room that a commit holds until it has its place: of memory or of the spill, and on
// the disk that it is going to be written to. From then on it is given back as it is used.
type ticket struct {
	db    *DB
	way   wbm.Outcome
	req   wbm.Request
	claim int64 // bytes on disk
}

// cancel gives all of it back. It does not block.
func (t *ticket) cancel() {
	t.db.space.cancel(t.claim)
	t.db.spill.Cancel(t.req, t.way)
}

// admit decides c's way, gets it room, and does what needs no lock: it encodes c, or builds
// Badger's transaction. It may block for room. After an error nothing is held.
func (db *DB) admit(c *commit, wait *patience) (ticket, error) {
	for {
		if db.closing.Load() {
			return ticket{}, ErrBlockedWrites
		}
		if wait.ctx != nil && wait.ctx.Err() != nil {
			return ticket{}, givenUp(wait.ctx)
		}
		t := ticket{db: db, req: c.request()}
		var err error
		t.way, err = db.reserveRoom(t.req, wait)
		c.watch.part(partRoom)
		if err != nil {
			if db.closing.Load() || errors.Is(err, wbm.ErrClosed) {
				err = ErrBlockedWrites
			}
			return ticket{}, err
		}
		if err := db.prepare(c, &t); err != nil {
			t.cancel()
			return ticket{}, err
		}
		claim := c.spaceCost(t.way)
		err = db.space.claim(db.space.sideOf(t.way), claim)
		if err == nil {
			t.claim, c.claim = claim, claim
			c.watch.part(partRoom)
			return t, nil
		}
		t.cancel()
		if t.way != wbm.Spilled || db.space.spill.low.Load() == nil {
			return ticket{}, err
		}
		// The spill counts as full now.
	}
}

// prepare makes of c what its way takes. What that is known to need less of than was estimated is
// given back.
func (db *DB) prepare(c *commit, t *ticket) error {
	switch {
	case t.way == wbm.Spilled:
		c.giveUpInner()
		if c.batch != nil {
			return nil
		}
		c.encode()
		exact := c.request()
		db.spill.ReleaseSpillover(t.req.Spill-exact.Spill, t.req.Index-exact.Index, 0)
		t.req = exact
	case c.inner == nil:
		c.own()
		if err := db.engine.prepare(c); err != nil {
			return err
		}
	default:
		return nil
	}
	c.watch.part(partEncode)
	return nil
}

// giveUpInner lets go of a transaction of Badger's that will not be sent.
func (c *commit) giveUpInner() {
	if c.inner != nil {
		c.inner.Discard()
		c.inner = nil
	}
}

// place gives c its place in the commit order. It returns false without an error if c has to be
// admitted again, since the router has changed its state or Badger's queue was full. It may block.
func (db *DB) place(txn *Txn, c *commit, way wbm.Outcome, wait *patience) (bool, error) {
	for {
		t := db.tryPlace(txn, c, way)
		t.hedges.append()
		switch {
		case t.held != nil:
			c.watch.part(partConflict)
			// A negative BlockTimeout does not end this: a hand-over is over before long, or given
			// up.
			err := wait.until(t.held, "a hand-over is under way")
			c.watch.part(partRoom)
			if err != nil {
				return false, err
			}
		case t.full != nil:
			const what = "as many commits as it takes wait for Badger's answer, and there is no room in the spill"
			if wait.timeout < 0 {
				return false, wait.blocked(what)
			}
			return false, wait.until(t.full, what)
		default:
			return t.placed, t.err
		}
	}
}

// errPastTheSpill is a fault of this package: the router says Direct, and the spill is not empty.
var errPastTheSpill = errors.New("badgerspill: internal fault: the commit would pass others that are still in the spill; " +
	"it was not written. Close the database and open it again")

// try is what has become of a try to place a commit. Without any of it the commit is to be admitted
// again.
type try struct {
	placed bool
	err    error
	held   <-chan struct{} // a hand-over is under way until it is closed: try again then
	full   <-chan struct{} // Badger's queue is full until it is closed, and the spill takes nothing
	hedges hedges          // of a turn to the spill that this was the cause of
}

// tryPlace checks for conflicts, assigns the timestamp and queues c, all under the commit lock. It
// does not wait.
func (db *DB) tryPlace(txn *Txn, c *commit, way wbm.Outcome) try {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.held != nil {
		return try{held: db.held}
	}
	if db.closed || db.dropping {
		return try{err: db.refused()}
	}
	if db.orc.conflicts(txn) {
		c.watch.part(partConflict)
		return try{err: ErrConflict}
	}
	if spilling := db.router.state == Spilling; spilling != (way == wbm.Spilled) {
		if spilling || !db.spill.ShouldSpillOver(c.memory) {
			return try{}
		}
		db.startSpilling(CauseMemory, true)
	} else if !spilling && db.router.full() {
		if !db.canSpill() {
			return try{full: db.router.nextAnswer()}
		}
		return try{hedges: db.spillFromHere(CauseQueue)}
	}
	// Invariant I1, at the one place where a commit could break it.
	if way != wbm.Spilled && db.log != nil && !db.log.Empty() {
		return try{err: errPastTheSpill}
	}
	db.assign(txn, c, way)
	c.watch.part(partConflict)
	db.line.push(c)
	if way == wbm.Spilled {
		c.spilled = true
		db.log.Enqueue(c.batch, c.ts)
	} else {
		db.ask(c)
	}
	return try{placed: true}
}

// assign gives c its timestamp. Needs DB.mu.
func (db *DB) assign(txn *Txn, c *commit, way wbm.Outcome) {
	if c.subscribers != db.publisher.added.Load() { // somebody came while c waited for its place
		c.updates = db.publisher.updatesOf(c)
	}
	switch {
	case db.opt.managed:
	case c.load && c.highest == 0: // its entries are of version 0
	case c.load:
		c.ts = db.orc.nextTs - 1
	default:
		db.orc.doneRead(txn)
		c.ts = db.orc.nextTs
		db.orc.nextTs++
	}
	if !db.opt.managed && (c.highest > c.ts || c.ts == 0) {
		db.orc.ahead = true // timestamps tell nothing about order any more
	}
	// A load's timestamp is that of a commit that may be in Badger alone; startSpilling looks at
	// those that it hedges.
	if way == wbm.Spilled && !db.unordered && (c.load || db.orc.ahead) {
		db.unordered = true // as are all later segments
		db.log.Rotate(spillfile.Unordered)
	}
	if !c.load {
		db.orc.committed(c.ts, c.keys)
	}
}

// await waits until c is acknowledged. A commit on its way to the spill is appended by this
// goroutine, together with those that have gathered.
func (db *DB) await(c *commit) error {
	if c.spilled {
		start := db.now()
		err := db.log.Commit(c.batch) // the outcome is settled by spilled, before this returns
		took := db.since(start)
		if err == nil {
			db.spill.RecordAppend(took)
		}
		db.strain.Commit(took)
	}
	if c.batch != nil {
		c.batch.Free()
	}
	c.done.Wait()
	c.watch.finish(c)
	return c.err
}

// doneRead ends a transaction's hold on old versions.
func (db *DB) doneRead(txn *Txn) {
	if txn.readMark == nil {
		return
	}
	db.mu.Lock()
	db.orc.doneRead(txn)
	discard := db.orc.discardable()
	db.mu.Unlock()
	if discard > db.discarded.Load() {
		db.watch.wake()
	}
}
