package feed

import (
	"context"
	"errors"
	"time"
)

const (
	// handOverBytes bounds what may be left in the spill for a hand-over: writers wait while Badger
	// takes it.
	handOverBytes = 64 << 10
	// HandOverWait, or StallThreshold if that is longer, bounds how long they wait for that, and
	// before it for what is in the log's queue. Past it the hand-over is given up and tried again.
	HandOverWait = 5 * time.Millisecond
)

// HandOver implements replay.Log: it makes the transition from Spilling to Direct.
//
// Under the commit lock nothing can be appended. If little is left then, Badger takes it at once,
// the manifest says that all is replayed, and the state is Direct. So at every moment either the
// manifest says that the spill is dead, and Badger has all of it, or it is live and no later commit
// has gone to Badger: a crash needs no guess which it was. The price is that writers wait for the
// log's queue and for one small batch, patience at most for each. Then they wait for a sync of
// Badger and for one manifest write, however long these take. If queue or batch are slower than the
// patience, the attempt is given up, and the spill goes on.
func (f *Feed) HandOver(context.Context) (handed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.failed(err) }()
	f.awaitLate()
	if err := f.env.Guard.Check(); err != nil { // commits would turn to the spill again at once
		return false, err
	}
	if f.preferred() {
		return true, f.ageAnew()
	}
	// Outside of the commit lock: all but the rest.
	_ = f.env.Log.Sync()
	if err := f.syncBadger(); err != nil {
		return false, err
	}
	done, turned, err := f.env.Pipeline.HandOver(f.patience(), f.handRest)
	if turned {
		err = f.released()
	}
	if done && err == nil {
		f.tellDrain(true)
	}
	return done, err
}

// preferred reports whether commits would turn to the spill again at once, because of their rate.
// Then there is no hand-over, unless somebody drains, or there is no room for them. Needs mu.
func (f *Feed) preferred() bool {
	if _, yes := f.draining(); yes {
		return false
	}
	return f.env.Spill.Preferred() && !f.env.Spill.Full()
}

// ageAnew ends a segment that has been replayed because of its age and is still written: until it
// is full its age would remain, and replay would follow each commit closely.
func (f *Feed) ageAnew() error {
	if st := f.env.Log.State(); st.LiveSegments == 1 && time.Since(st.OldestCreated) > f.opt.MaxSpillAge/2 {
		return f.env.Log.Seal()
	}
	return nil
}

// patience is how long a hand-over may wait at each of its two steps, while writers wait for it.
func (f *Feed) patience() time.Duration { return max(HandOverWait, f.opt.StallThreshold) }

// handRest brings what is left of the spill to Badger, if that is little, and has the manifest say
// so. It reports whether all of it is there. It is called under the commit lock, when nothing is
// queued or in flight. Needs mu, which HandOver holds.
func (f *Feed) handRest() (bool, error) {
	m, log := &f.mu, f.env.Log
	if m.merge != nil {
		return false, nil
	}
	st := log.State()
	always := f.env.Spill.Always()
	if st.LiveSegments == 0 || always && m.seq >= st.LastSeq {
		return true, nil
	}
	m.chunk.Reset()
	if err := log.ReadChunkInto(&m.chunk, m.pos, handOverBytes); err != nil {
		return false, err
	}
	if !m.chunk.AtEnd {
		return false, nil
	}
	if err := f.load(f.patience(), m.chunk.Next); err != nil {
		if errors.Is(err, errSlowHandOver) {
			return false, nil
		}
		return false, err
	}
	f.passed(m.chunk.Next, m.chunk.LastSeq)
	if always {
		return true, nil
	}
	if err := f.syncBadger(); err != nil {
		return false, err
	}
	if err := f.env.Guard.Lost(); err != nil {
		return false, err
	}
	ok, err := log.MarkReplayedIfLast(m.seq)
	if !ok || err != nil {
		return false, err
	}
	m.noted = m.seq
	return true, nil
}
