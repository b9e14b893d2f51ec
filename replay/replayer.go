package replay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Replayer feeds a log to Badger. All methods are safe for concurrent use.
//
// One goroutine, started by Start, walks through the states (loop.go); see State for the diagram.
// What the fields below "loop" hold is that goroutine's alone. When a run begins and ends is
// decided by reason, in loop.go, too; run.go is what a run does.
type Replayer struct {
	o               Options
	pacer           *pacer
	checkpointBytes atomic.Int64

	// wake and kick have room for one signal, so none is lost while nobody listens. kick is
	// for a new caller of Drain, who does not wait for the end of a backoff.
	wake, kick chan struct{}
	quit, done chan struct{}

	mu struct {
		sync.Mutex
		started, stopping bool
		// drains are the callers of Drain that are not served yet.
		drains map[*drain]struct{}
		stats  Stats
		since  time.Time // of stats.State
	}

	loop struct {
		// reason is why the next run begins.
		reason Reason
		// handOverDue: the log was drained and commits do not go direct yet. dirty: the log or its
		// state moved since the last checkpoint, by unsyncedBytes.
		handOverDue   bool
		dirty         bool
		unsyncedBytes int64
		midway        bool // as the last batch said
		// failures counts consecutive ones; failed is the operation whose success ends them.
		failures int
		failed   operation
		delay    time.Duration
	}
}

// drain is a caller of Drain: err is what it returns when served is closed.
type drain struct {
	served chan struct{}
	err    error
}

// New returns a replayer that does nothing before Start.
func New(o Options) *Replayer {
	r := &Replayer{
		o:    o.withDefaults(),
		wake: make(chan struct{}, 1),
		kick: make(chan struct{}, 1),
		quit: make(chan struct{}),
		done: make(chan struct{}),
	}
	r.pacer = newPacer(&r.o)
	r.checkpointBytes.Store(r.o.CheckpointBytes)
	r.mu.stats.Duty = 1
	r.mu.since = time.Now()
	r.mu.drains = map[*drain]struct{}{}
	return r
}

// Start begins to watch the log. Starting twice, or after Stop, does nothing.
func (r *Replayer) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.started || r.mu.stopping {
		return
	}
	r.mu.started = true
	go r.walk()
}

// Stop ends the replayer and waits for it: for the operation of the log that is under way,
// and for a checkpoint if a run is. Callers of Drain get ErrStopped. It must not be
// called from a callback.
func (r *Replayer) Stop() {
	r.mu.Lock()
	if !r.mu.stopping {
		r.mu.stopping = true
		close(r.quit)
		if !r.mu.started {
			r.enterLocked(Stopped)
			close(r.done)
		}
	}
	r.mu.Unlock()
	<-r.done
}

// Wake makes the replayer look at the log: it is not empty any more, or it has passed the
// high-water mark. It never blocks, and is cheap enough to be called too often.
func (r *Replayer) Wake() { signal(r.wake) }

// SetMaxRate changes the ceiling, in bytes per second; 0 or less takes it away. It holds at once,
// for a run under way too: a pause that the new ceiling makes unnecessary ends. It does not block.
func (r *Replayer) SetMaxRate(bytesPerSecond int64) {
	r.pacer.ceiling.Store(max(0, bytesPerSecond))
	r.Wake()
}

// MaxRate returns the ceiling in bytes per second, 0 for none. It does not block.
func (r *Replayer) MaxRate() int64 { return r.pacer.ceiling.Load() }

// SetCheckpointBytes changes Options.CheckpointBytes; 0 or less means the default. It holds from
// the next batch on, for a run under way too. It does not block.
func (r *Replayer) SetCheckpointBytes(n int64) {
	if n <= 0 {
		n = DefaultCheckpointBytes
	}
	r.checkpointBytes.Store(n)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Resume ends the state Halted: what was the matter has changed. It never blocks, and may be called
// when nothing is halted.
func (r *Replayer) Resume() {
	r.update(func(st *Stats) { st.Halted = nil })
	r.Wake()
}

// halt makes callers of Drain return err, those to come as well, until Resume.
func (r *Replayer) halt(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.stats.Halted = err
	for d := range r.mu.drains {
		delete(r.mu.drains, d)
		d.err = err
		close(d.served)
	}
}

// Drain replays everything now, whatever the rate, and below the whole memory limit. It
// returns nil once a hand-over that began after this call succeeded and its checkpoint
// too; ctx.Err() when the context ends first, while the run goes on only if there is
// another reason; ErrStopped when the replayer is stopped. Errors of the log are retried
// with backoff, not returned, unless they are lasting; OnError and Stats tell of them. Under
// a burst that is faster than Badger it may not end before the context. Several callers share
// one run. Before Start it waits.
func (r *Replayer) Drain(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d := &drain{served: make(chan struct{})}
	r.mu.Lock()
	if r.mu.stopping {
		r.mu.Unlock()
		return ErrStopped
	}
	if err := r.mu.stats.Halted; err != nil {
		r.mu.Unlock()
		return err
	}
	r.mu.drains[d] = struct{}{}
	r.mu.Unlock()
	signal(r.kick)
	signal(r.wake)

	var err error
	select {
	case <-d.served:
		return d.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-r.done:
		err = ErrStopped
	}
	r.mu.Lock()
	delete(r.mu.drains, d)
	r.mu.Unlock()
	select {
	case <-d.served:
		return d.err
	default:
		return err
	}
}

// State returns what the replayer is doing. It does not block.
func (r *Replayer) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.stats.State
}

// Stats returns the counters. It does not block.
func (r *Replayer) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.mu.stats
	st.StateTime[st.State] += time.Since(r.mu.since)
	return st
}

func (r *Replayer) update(f func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.mu.stats)
}

func (r *Replayer) enter(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enterLocked(s)
}

func (r *Replayer) enterLocked(s State) {
	now := time.Now()
	st := &r.mu.stats
	st.StateTime[st.State] += now.Sub(r.mu.since)
	st.State, r.mu.since = s, now
}

func (r *Replayer) stopping() bool {
	select {
	case <-r.quit:
		return true
	default:
		return false
	}
}

// draining returns the callers of Drain there are now.
func (r *Replayer) draining() []*drain {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.drains) == 0 {
		return nil
	}
	all := make([]*drain, 0, len(r.mu.drains))
	for d := range r.mu.drains {
		all = append(all, d)
	}
	return all
}

func (r *Replayer) anyDrain() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mu.drains) > 0
}

func (r *Replayer) serve(drains []*drain) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range drains {
		delete(r.mu.drains, d)
		close(d.served)
	}
}
