package feed

import (
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/spillfile"
)

// progressInterval is how often progress is told at most, in nanoseconds.
const progressInterval = int64(100 * time.Millisecond)

// Drain is how far a drain is. Callers at the same time share one: it began with the first of them.
type Drain struct {
	// of the spill's segments, on disk, that are in Badger or need not be
	Bytes        int64
	TotalBytes   int64         // with those that are left, and those that came meanwhile
	Commits      int64         // all of which is in Badger; those of a chunk count when it is done
	TotalCommits int64         // with those that are left, and those that came meanwhile
	Duration     time.Duration // since the drain began
	Done         bool          // nothing is left
}

// drains are those who drain: from when the first comes until the last one is served or has left.
type drains struct {
	mu     sync.Mutex
	number int   // of the drain, from 1
	active int   // callers
	begun  int64 // in nanoseconds of Feed.now
}

// drain is what has been done of one. Guarded by Feed.mu.
type drain struct {
	seen   int    // its number
	bytes  int64  // that are done
	seq    uint64 // where it began
	toldAt int64  // in nanoseconds of Feed.now
}

// BeginDrain says that somebody drains, until end is called. It does not block and is safe for
// concurrent use.
func (f *Feed) BeginDrain() (end func()) {
	d := &f.drains
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active == 0 {
		d.number++
		d.begun = f.now()
	}
	d.active++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.active--
	}
}

// current returns the drain under way, 0 for none, and when it began.
func (d *drains) current() (number int, begun int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active == 0 {
		return 0, 0
	}
	return d.number, d.begun
}

// draining reports whether somebody drains, and since when. A new drain begins to count. Needs mu.
func (f *Feed) draining() (begun int64, yes bool) {
	number, begun := f.drains.current()
	if number == 0 {
		return 0, false
	}
	if d := &f.mu.drain; d.seen != number {
		*d = drain{seen: number, bytes: -f.chunkDone(), seq: f.mu.seq}
	}
	return begun, true
}

// measure counts what lies between the last place and the next one, which replay is about to pass.
// Needs mu.
func (f *Feed) measure(next spillfile.Position) {
	if _, yes := f.draining(); yes {
		f.mu.drain.bytes += f.env.Log.Behind(f.mu.pos) - f.env.Log.Behind(next)
	}
}

// Progressed tells how far a drain is, if there is one and that was not told lately. It is for the
// replayer's goroutine, after a batch, and blocks for who has the lock: a drop, say.
func (f *Feed) Progressed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tellDrain(false)
}

// tellDrain tells how far a drain is, the last time if it is done. Needs mu.
func (f *Feed) tellDrain(done bool) {
	begun, yes := f.draining()
	if !yes {
		return
	}
	m, log, now := &f.mu, f.env.Log, f.now()
	if !done && now-m.drain.toldAt < progressInterval {
		return
	}
	m.drain.toldAt = now
	part := f.chunkDone()
	st := log.State()
	d := Drain{Bytes: m.drain.bytes + part, Duration: time.Duration(now - begun), Done: done}
	d.TotalBytes = d.Bytes + log.Behind(m.pos) - part
	d.Commits = int64(m.seq - min(m.seq, m.drain.seq))
	d.TotalCommits = d.Commits + int64(st.LastSeq-min(st.LastSeq, m.seq)) + st.Queued
	f.env.Audience.Draining(d)
}
