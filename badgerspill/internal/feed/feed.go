package feed

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
)

// Feed moves the spill to Badger. The package comment says who calls which method.
type Feed struct {
	env Env
	opt Options

	done   atomic.Int64 // bytes of live segments that are in Badger: before pos, and of the chunk
	era    atomic.Int64 // counts how often replay has started over
	marks  marks
	drains drains

	// The replayer's goroutine's own.
	failedIn    int64 // the era of the last error
	askedRelief int64 // when MayReplay asked for memory last, in nanoseconds of now

	// mu is held over a batch of replay, a hand-over, and a function of Exclusively.
	mu struct {
		sync.Mutex
		pos   spillfile.Position // next block to replay
		chunk spillfile.Chunk
		// chunk holds entries of merge that Badger has not taken yet
		untaken bool
		merge   *spillfile.Merge // the chunk that is being replayed in key order, nil: none
		passage passage          // how far that is in Badger
		resume  *spillfile.Place // where the next chunk begins, nil: at pos
		// a place may be noted that is not of the replay from pos on: it must go before that begins
		foreign bool
		// a chunk is one segment: damage was met, and what lies before it is to reach Badger
		bySegment bool

		seq    uint64 // all batches up to this are in Badger
		synced uint64 // and up to this, synced there
		noted  uint64 // and up to this, so noted in the manifest

		drain drain // what has been done of the drain under way
		// closed when Badger has answered the load of a hand-over that was given up
		late <-chan struct{}
	}
}

var _ replay.Log = (*Feed)(nil)

// New returns a feed that begins at the first live block, or at the place that was noted last. It
// reads that from the disk. Without a log only Exclusively and Close may be called.
func New(env Env, opt Options) *Feed {
	f := &Feed{env: env, opt: opt}
	if env.Log != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.startOver()
	}
	return f
}

// Exclusively runs fn while there is no batch of replay, no hand-over, and nobody else's fn. It
// blocks for the one under way; a load that a hand-over has given up may go on, see AwaitLate. It
// returns the error of fn,
// which must not call what takes the feed's lock. It is safe for concurrent use.
func (f *Feed) Exclusively(fn func(x *Exclusive) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fn(&Exclusive{f})
}

// Exclusive is what a function of Exclusively may do to the feed while it runs. Drops do.
type Exclusive struct{ f *Feed }

// AwaitLate waits until Badger has answered the load of a hand-over that was given up. Without one
// it does not block.
func (x *Exclusive) AwaitLate() { x.f.awaitLate() }

// StartOver makes replay begin at the first live block again: what the spill held was dropped. It
// blocks for a read of the disk.
func (x *Exclusive) StartOver() { x.f.startOver() }

// startOver needs mu.
func (f *Feed) startOver() {
	f.endChunk()
	m := &f.mu
	m.bySegment, m.resume, m.foreign, m.passage = false, nil, true, passage{}
	f.era.Add(1)
	if p, ok := f.env.Log.Place(); ok {
		m.resume = &p
	}
	st := f.env.Log.State()
	m.pos = spillfile.Position{}
	m.seq, m.synced, m.noted = st.ReplayedThrough, st.ReplayedThrough, st.ReplayedThrough
	f.count()
	f.marks.pass(m.seq)
}

// Close gives up the chunk that is being replayed. It is called once replay has stopped, and all
// who may call Exclusively; so it does not block for long.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endChunk()
}

// now is a monotonic clock in nanoseconds.
func (f *Feed) now() int64 { return int64(time.Since(f.env.Begin)) }

// failed notes when an error was met. It is for the replayer's goroutine.
func (f *Feed) failed(err error) {
	if err != nil {
		f.failedIn = f.era.Load()
	}
}

// Outdated reports whether what the last error was about was dropped since. It does not block, and
// is for the replayer's goroutine.
func (f *Feed) Outdated() bool { return f.failedIn != f.era.Load() }

// BytesPending returns how many of the live bytes of the log's segments are not in Badger. It does
// not block and is safe for concurrent use.
func (f *Feed) BytesPending(live int64) int64 { return max(0, live-f.done.Load()) }

// count notes how much of what is live is in Badger. Needs mu.
func (f *Feed) count() {
	f.done.Store(f.env.Log.State().LiveBytes - f.env.Log.Behind(f.mu.pos) + f.chunkDone())
}

// passed says that Badger has everything before a place, up to seq. Needs mu.
func (f *Feed) passed(at spillfile.Position, seq uint64) {
	f.measure(at)
	f.mu.pos = at
	f.mu.seq = max(f.mu.seq, seq)
	f.marks.pass(f.mu.seq)
}
