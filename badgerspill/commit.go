package badgerspill

import (
	"errors"

	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// The walk of a write: Txn.Commit -> submit: admit (budget, way) -> claim (disk) -> place
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
	c, err := db.submitWithin(txn, db.patienceOf(txn.context()))
	if err != nil {
		txn.watch().failed()
	}
	return c, err
}

func (db *DB) submitWithin(txn *Txn, wait patience) (*commit, error) {
	c := db.newCommit(txn)
	c.watch.part(partConflict)
	if err := db.publisher.throttle(&wait); err != nil {
		return nil, err
	}
	c.watch.part(partRoom)
	c.updates = db.publisher.updatesOf(c)
	if c.updates != nil {
		c.watch.part(partEncode)
	}
	for {
		if db.closing.Load() {
			return nil, ErrBlockedWrites
		}
		if wait.ctx != nil && wait.ctx.Err() != nil {
			return nil, givenUp(wait.ctx)
		}
		way, req, err := db.admit(c, &wait)
		if err != nil {
			if errors.Is(err, ErrNoSpace) {
				db.counters.noSpace.Add(1)
			}
			return nil, err
		}
		c.claim = c.spaceCost(way)
		if err := db.space.claim(db.space.sideOf(way), c.claim); err != nil {
			db.spill.Cancel(req, way)
			if way == wbm.Spilled && db.space.spill.low.Load() != nil {
				continue // the spill counts as full now
			}
			if c.inner != nil {
				c.inner.Discard()
			}
			db.counters.noSpace.Add(1)
			return nil, err
		}
		c.watch.part(partRoom)
		placed, err := db.place(txn, c, way, &wait)
		if !placed {
			db.space.cancel(c.claim)
			db.spill.Cancel(req, way)
		}
		if err != nil {
			if c.inner != nil {
				c.inner.Discard()
			}
			return nil, err
		}
		if placed {
			db.rate.Add(c.memory)
			if db.commits != nil && db.policy() == Auto {
				db.commits.Add(1)
			}
			return c, nil
		}
	}
}

// admit reserves room for c and decides its way; then it does what needs no lock: encode, or build
// Badger's transaction.
func (db *DB) admit(c *commit, wait *patience) (wbm.Outcome, wbm.Request, error) {
	req := c.request()
	way, err := db.reserveRoom(req, wait)
	c.watch.part(partRoom)
	if err != nil {
		if db.closing.Load() || errors.Is(err, wbm.ErrClosed) {
			err = ErrBlockedWrites
		}
		return way, req, err
	}
	if way == wbm.Spilled {
		if c.batch == nil {
			c.encode()
			exact := c.request()
			db.spill.ReleaseSpillover(req.Spill-exact.Spill, req.Index-exact.Index, 0)
			req = exact
			c.watch.part(partEncode)
		}
		return way, req, nil
	}
	if c.inner == nil {
		c.own()
		if err := db.engine.prepare(c); err != nil {
			db.spill.Cancel(req, way)
			return way, req, err
		}
		c.watch.part(partEncode)
	}
	return way, req, nil
}

// place checks for conflicts, assigns the timestamp and queues c, all under the commit lock. It
// returns false without an error if the router has changed its state since c was admitted: the
// caller tries again.
func (db *DB) place(txn *Txn, c *commit, way wbm.Outcome, wait *patience) (bool, error) {
	db.mu.Lock()
	for held := db.held; held != nil; held = db.held {
		db.mu.Unlock()
		c.watch.part(partConflict)
		// A negative BlockTimeout does not end this: a hand-over is over before long, or given up.
		err := wait.until(held, "a hand-over is under way")
		c.watch.part(partRoom)
		if err != nil {
			return false, err
		}
		db.mu.Lock()
	}
	if db.closed || db.dropping {
		db.mu.Unlock()
		return false, db.refused()
	}
	if db.orc.conflicts(txn) {
		db.mu.Unlock()
		c.watch.part(partConflict)
		return false, ErrConflict
	}
	if spilling := db.router.state == Spilling; spilling != (way == wbm.Spilled) {
		if spilling || !db.spill.ShouldSpillOver(c.memory) {
			db.mu.Unlock()
			return false, nil
		}
		db.startSpilling(CauseMemory, true)
	} else if !spilling && db.router.full() {
		return false, db.relieveQueue(wait) // releases the lock
	}
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
	c.watch.part(partConflict)
	db.line.push(c)
	if way == wbm.Spilled {
		c.spilled = true
		db.log.Enqueue(c.batch, c.ts)
	} else {
		db.ask(c)
	}
	db.mu.Unlock()
	return true, nil
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
