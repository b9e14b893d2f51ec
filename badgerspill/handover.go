package badgerspill

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/badgerspill/internal/room"
	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

const (
	// handOverBytes bounds what may be left in the spill for a hand-over: writers wait while Badger
	// takes it.
	handOverBytes = 64 << 10
	// handOverWait, or StallThreshold if that is longer, bounds how long they wait for that, and
	// before it for what is in the log's queue. Past it the hand-over is given up and tried again.
	handOverWait = 5 * time.Millisecond
	// reliefInterval is how often a replay that waits for memory asks for it at most.
	reliefInterval = int64(10 * time.Millisecond)
)

// replayLog is the spill as the replayer sees it. DB.gate guards its fields, but for the atomic
// ones and askedRelief: a drop and Close call some of its methods, too. Pending and MayReplay need
// no lock, and are the replayer's.
type replayLog struct {
	db      *DB
	pos     spillfile.Position // next block to replay
	chunk   spillfile.Chunk
	merge   *spillfile.Merge // the chunk that is being replayed in key order, nil: none
	passage passage          // how far that is in Badger
	// bytes of live segments that are in Badger: before pos, and of the chunk
	done   atomic.Int64
	resume *spillfile.Place // where the next chunk begins, nil: at pos
	// a place may be noted that is not of the replay from pos on: it must go before that begins
	foreign  bool
	era      atomic.Int64 // counts how often replay has started over
	failedIn int64        // the era of the last error
	// a chunk is one segment: damage was met, and what lies before it is to reach Badger
	bySegment   bool
	untaken     bool   // chunk holds entries of it that Badger has not taken yet
	seq         uint64 // all batches up to this are in Badger
	synced      uint64 // and up to this, synced there
	noted       uint64 // and up to this, so noted in the manifest
	marks       replayMarks
	askedRelief int64 // when MayReplay asked for memory last, in nanoseconds of DB.now
	// closed when Badger has answered the load of a hand-over that was given up
	late <-chan struct{}
}

// Pending implements replay.Log.
func (r *replayLog) Pending() replay.Pending {
	db := r.db
	st := db.log.State()
	// A turn to the spill that no commit has followed is to be handed over, too.
	turned := db.spill.IsActive() && db.policy() != Always
	if st.LiveBatches == 0 && st.Queued == 0 && !turned {
		return replay.Pending{}
	}
	p := replay.Pending{Bytes: max(st.LiveBytes, 1), Left: r.pendingBytes(st.LiveBytes), Oldest: st.OldestCreated, Due: st.OldestAhead}
	if c := db.spill.Capacity(); c > 0 {
		p.Fill = float64(db.spill.Usage()) / float64(c)
	}
	p.Full, p.Slowed = r.full(), db.spill.Slowed() > 0
	return p
}

// full says so before the last piece is full: near the wall commits are slowed so much that they
// may not hit it for long, and they must not crawl while memory has room for replay.
func (r *replayLog) full() bool {
	return r.db.spill.IsSpilloverFull(r.db.spillPiece(), 0) || r.db.spill.Parked() > 0
}

// MayReplay implements replay.Log.
func (r *replayLog) MayReplay(full bool) bool {
	db := r.db
	if db.room.Check() != nil || db.guard.pauses() != nil {
		return false
	}
	if db.pipe.InFlight() { // Badger has not answered what was sent to it directly, and hedged
		return false
	}
	limit := db.manager.SoftLimit()
	switch {
	case full && (db.closing.Load() || r.full()):
		limit = db.manager.Limit()
	case full: // being drained: what is above is for the index of what is spilled meanwhile
		limit = db.manager.Limit() - db.manager.Limit()/8
	}
	// Only replay frees the index of the spill: it must not wait for that.
	usage := db.manager.Usage()
	if usage < limit || usage-db.manager.UsageByKind(wbm.SpillIndex) < limit/4 {
		return true
	}
	// Relief wakes the replayer, who asks here again: not in a circle.
	if now := db.now(); now-r.askedRelief >= reliefInterval {
		r.askedRelief = now
		db.manager.AskRelief()
	}
	return false
}

// Replay implements replay.Log: it moves the next entries to Badger, in key order, or, when little
// is left, in log order.
func (r *replayLog) Replay(ctx context.Context, maxBytes int64) (done replay.Progress, err error) {
	r.db.gate.Lock()
	defer r.db.gate.Unlock()
	defer func() { r.failed(err) }()
	r.draining()
	r.awaitLate()
	if r.merge == nil {
		if err := r.beginChunk(); err != nil {
			return replay.Progress{}, err
		}
	}
	defer r.count()
	if r.merge != nil {
		return r.replayChunk(maxBytes)
	}
	if err := r.db.log.ReadChunkInto(&r.chunk, r.pos, maxBytes); err != nil {
		return replay.Progress{}, err
	}
	n := len(r.chunk.Entries)
	if err := r.load(0, r.chunk.Next); err != nil {
		return replay.Progress{}, err
	}
	r.passed(r.chunk.Next, r.chunk.LastSeq)
	return replay.Progress{Bytes: r.chunk.RawBytes, Entries: int64(n), Drained: r.chunk.AtEnd}, nil
}

// chunkDone returns how many bytes of the chunk's segments, on disk, are in Badger, about.
func (r *replayLog) chunkDone() int64 {
	if r.merge == nil {
		return 0
	}
	chunk := r.db.log.Behind(r.pos) - r.db.log.Behind(r.merge.End())
	return int64(float64(chunk) * r.merge.Share())
}

// count notes how much of what is live is in Badger.
func (r *replayLog) count() {
	r.done.Store(r.db.log.State().LiveBytes - r.db.log.Behind(r.pos) + r.chunkDone())
}

// pendingBytes returns how many bytes of segments, on disk, are not in Badger. It does not block
// and is safe for concurrent use.
func (r *replayLog) pendingBytes(live int64) int64 { return max(0, live-r.done.Load()) }

// passed says that Badger has everything before a place, up to seq.
func (r *replayLog) passed(at spillfile.Position, seq uint64) {
	r.measure(at)
	r.pos = at
	r.seq = max(r.seq, seq)
	r.marks.pass(r.seq)
}

// load moves the chunk, which lies before to, to Badger and accounts for it. With a wait above 0 it
// gives up after that: the load goes on, and nothing else may be loaded, nor commits go to Badger
// directly, before it has ended; see awaitLate.
func (r *replayLog) load(wait time.Duration, to spillfile.Position) error {
	db := r.db
	if entries := r.chunk.Entries; len(entries) > 0 {
		// Ahead of Badger, whose log is mapped: a power cut must not leave there what the spill has
		// lost. If this fails, replay is what ends the trouble.
		if at := db.log.State().Synced; at.Segment < to.Segment || at.Segment == to.Segment && at.Offset < to.Offset {
			_ = db.log.Sync()
		}
		var memory int64
		var newest uint64
		for i := range entries {
			e := &entries[i]
			memory += memoryCost(len(e.Key), len(e.Value), db.opt.ValueThreshold)
			newest = max(newest, e.Version)
		}
		held := db.guard.blocked() // a hand-over has looked before it took the commit lock
		if wait == 0 {
			held = db.guard.replays(memory)
		}
		if held != nil {
			return held
		}
		cost := room.BadgerCost(memory, r.chunk.RawBytes)
		if err := db.room.ClaimBadger(cost); err != nil {
			return err
		}
		db.account.Force(wbm.InFlight, memory)
		load := func() error {
			defer db.room.Settle(cost)
			err := db.engine.load(entries)
			if err != nil {
				db.account.Release(wbm.InFlight, memory)
				return err
			}
			db.memtables.took(memory, newest)
			db.watch.wake()
			return nil
		}
		if wait > 0 {
			load = r.loadWithin(load, wait)
		}
		if err := load(); err != nil {
			return err
		}
		db.counters.replayedBytes.Add(r.chunk.RawBytes)
		db.counters.replayedEntries.Add(int64(len(entries)))
	}
	return nil
}

// replayMarks tells when Badger has all batches up to a sequence.
type replayMarks struct {
	mu      sync.Mutex
	seq     uint64
	waiting map[uint64]chan struct{}
}

// reached returns a channel that is closed when Badger has all batches up to seq.
func (r *replayLog) reached(seq uint64) <-chan struct{} {
	m := &r.marks
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.waiting[seq]; ok {
		return c
	}
	c := make(chan struct{})
	if seq <= m.seq {
		close(c)
		return c
	}
	if m.waiting == nil {
		m.waiting = map[uint64]chan struct{}{}
	}
	m.waiting[seq] = c
	return c
}

func (m *replayMarks) pass(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq = max(m.seq, seq)
	for s, c := range m.waiting {
		if s <= m.seq {
			close(c)
			delete(m.waiting, s)
		}
	}
}

func (r *replayLog) loadWithin(load func() error, wait time.Duration) func() error {
	return func() error {
		answered := make(chan struct{})
		var answer error
		r.db.inBackground(func() {
			defer close(answered)
			answer = load()
		})
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-answered:
			return answer
		case <-timer.C:
		}
		// The chunk's buffers are Badger's until it answers: leave them to it.
		r.late, r.chunk = answered, spillfile.Chunk{}
		return errSlowHandOver
	}
}

// awaitLate waits for the load of a hand-over that was given up. Whether or not it succeeded, the
// same entries are replayed again, which is harmless; but it must not bring them to Badger after
// newer commits (invariant I1).
func (r *replayLog) awaitLate() {
	if r.late != nil {
		<-r.late
		r.late = nil
	}
}

// Checkpoint implements replay.Log. Files go only after Badger has synced what was in them.
func (r *replayLog) Checkpoint(ctx context.Context) (err error) {
	r.db.gate.Lock()
	defer r.db.gate.Unlock()
	defer func() { r.failed(err) }()
	if err := r.notePassage(); err != nil {
		return err
	}
	if r.seq == r.noted {
		return r.db.interlock.Drop() // an earlier try may have failed
	}
	if err := r.syncBadger(); err != nil {
		return err
	}
	if err := r.notLost(); err != nil {
		return err
	}
	if err := r.db.log.MarkReplayed(r.seq); err != nil {
		return err
	}
	r.noted = r.seq
	r.count()
	r.db.ledger.Refresh()
	r.db.pipe.Replayed(r.noted)
	return r.db.interlock.Drop()
}

// failed notes when an error was met: what was dropped since is not what it is about. Needs gate.
func (r *replayLog) failed(err error) {
	if err != nil {
		r.failedIn = r.era.Load()
	}
}

// notLost keeps the spill's copy if Badger may have lost what it was given.
func (r *replayLog) notLost() error {
	if err := r.db.lost.Check(); err != nil {
		return err
	}
	if err := r.db.guard.failed.Load(); err != nil {
		return err
	}
	return nil
}

func (r *replayLog) syncBadger() error {
	if r.synced == r.seq {
		return nil
	}
	if err := r.db.engine.sync(); err != nil {
		return err
	}
	r.synced = r.seq
	return nil
}

// HandOver implements replay.Log: it makes the transition from Spilling to Direct.
//
// Under the commit lock nothing can be appended. If little is left then, Badger takes it at once,
// the manifest says that all is replayed, and the state is Direct. So at every moment either the
// manifest says that the spill is dead, and Badger has all of it, or it is live and no later commit
// has gone to Badger: a crash needs no guess which it was. The price is that writers wait for one
// small batch, patience at most, and one manifest write. If Badger is slower than that, the
// attempt is given up, and the spill goes on.
func (r *replayLog) HandOver(ctx context.Context) (handed bool, err error) {
	db := r.db
	r.db.gate.Lock()
	defer r.db.gate.Unlock()
	defer func() { r.failed(err) }()
	r.awaitLate()
	if err := db.guard.check(); err != nil { // commits would turn to the spill again at once
		return false, err
	}
	if r.preferred() {
		return true, r.ageAnew()
	}
	// Outside of the lock: all but the rest.
	_ = db.log.Sync()
	if err := r.syncBadger(); err != nil {
		return false, err
	}
	done, turned, err := db.pipe.HandOver(r.patience(), r.handRest)
	if turned {
		db.ledger.Refresh()
		db.pipe.Replayed(r.noted)
		err = db.interlock.Drop()
	}
	if done && err == nil {
		r.tellDrain(true)
	}
	return done, err
}

// preferred reports whether commits would turn to the spill again at once, because of their rate.
// Then there is no hand-over, unless somebody drains, or there is no room for them.
func (r *replayLog) preferred() bool {
	db := r.db
	if _, draining := r.draining(); draining || db.commits == nil || db.policy() != Auto || db.closing.Load() {
		return false
	}
	return db.commits.Rate() >= db.opt.Tuning.SpillRate && !r.full()
}

// ageAnew ends a segment that has been replayed because of its age and is still written: until it
// is full its age would remain, and replay would follow each commit closely.
func (r *replayLog) ageAnew() error {
	if st := r.db.log.State(); st.LiveSegments == 1 && time.Since(st.OldestCreated) > r.db.opt.Tuning.MaxSpillAge/2 {
		return r.db.log.Seal()
	}
	return nil
}

// patience is how long a hand-over may wait at each of its two steps, while writers wait for it.
func (r *replayLog) patience() time.Duration { return max(handOverWait, r.db.opt.StallThreshold) }

// handRest brings what is left of the spill to Badger, if that is little, and has the manifest say
// so. It reports whether all of it is there. It is called under the commit lock, when nothing is
// queued or in flight.
func (r *replayLog) handRest() (bool, error) {
	db := r.db
	if r.merge != nil {
		return false, nil
	}
	st := db.log.State()
	always := db.policy() == Always
	if st.LiveSegments == 0 || always && r.seq >= st.LastSeq {
		return true, nil
	}
	r.chunk.Reset()
	if err := db.log.ReadChunkInto(&r.chunk, r.pos, handOverBytes); err != nil {
		return false, err
	}
	if !r.chunk.AtEnd {
		return false, nil
	}
	if err := r.load(r.patience(), r.chunk.Next); err != nil {
		if errors.Is(err, errSlowHandOver) {
			return false, nil
		}
		return false, err
	}
	r.passed(r.chunk.Next, r.chunk.LastSeq)
	if always {
		return true, nil
	}
	if err := r.syncBadger(); err != nil {
		return false, err
	}
	if err := r.notLost(); err != nil {
		return false, err
	}
	ok, err := db.log.MarkReplayedIfLast(r.seq)
	if !ok || err != nil {
		return false, err
	}
	r.noted = r.seq
	return true, nil
}

var errSlowHandOver = errors.New("the rest of the spill was not taken in time")

// startOver makes replay begin at the first live block again: after recovery.
func (r *replayLog) startOver() {
	r.endChunk()
	r.bySegment, r.resume, r.foreign, r.passage = false, nil, true, passage{}
	r.era.Add(1)
	if p, ok := r.db.log.Place(); ok {
		r.resume = &p
	}
	st := r.db.log.State()
	r.pos = spillfile.Position{}
	r.seq, r.synced, r.noted = st.ReplayedThrough, st.ReplayedThrough, st.ReplayedThrough
	r.count()
	r.marks.pass(r.seq)
}
