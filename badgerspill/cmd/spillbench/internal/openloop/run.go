package openloop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNoAnswer is returned by Run.Do when writes were still without an answer long after the
// cut-off.
var ErrNoAnswer = errors.New("writes without an answer")

// answerGrace is how long after the cut-off Do waits for the writes that were sent before it.
const answerGrace = 60 * time.Second

// Config says what to write and when.
type Config struct {
	Schedule *Schedule
	Workload *Workload
	Writers  int // writes in flight at most, and reads
	// Reads is the percentage of the slots, 0 to 100, that read one of the keys acknowledged last
	// instead of writing. As long as nothing is acknowledged they write. Above 0, Run.ReadFrom has
	// to say where they read.
	Reads int
	// Backlog is how long after the end of the schedule writes that are overdue may still be sent.
	// After that the rest is given up and counted as unsent.
	Backlog time.Duration
	// Base is how many slots behind those of the schedule the store holds before the run, for
	// Verify.
	Base int64
	// Precise waits for due times on a kernel timer where the platform has one and the rate is low
	// enough for it to be worth its cost. It does not go with a fake clock.
	Precise bool
}

// The outcome of a slot is its latency in nanoseconds, at least 1, or one of these.
const (
	outcomeUnsent = 0
	outcomeFailed = -1
)

// notWaited marks a slot whose writer came too late to wait for its due time.
const notWaited = -1

// Run is one pass over a schedule. Do may be called once; Tick by one goroutine while Do runs;
// Results and Verify after Do has returned without an error.
type Run struct {
	cfg   Config
	start time.Time
	next  atomic.Int64 // first slot that no writer has taken
	// stopped lets no writer take another slot.
	stopped atomic.Bool

	// One element a slot, written only by the writer that took it; reads also by NewRun.
	outcome []atomic.Int64
	wokeNs  []int32 // how late the writer woke up for its slot, in nanoseconds, or notWaited
	reads   []bool  // the slot reads; nil without reads

	store  Reader  // that reads ask
	recent *recent // nil without reads
	tick   tickState

	mu struct {
		sync.Mutex
		firstErr     error
		firstReadErr error
	}
}

// NewRun prepares a run; it allocates 12 bytes a slot, 13 with reads.
func NewRun(cfg Config) *Run {
	r := &Run{
		cfg:     cfg,
		outcome: make([]atomic.Int64, cfg.Schedule.Total()),
		wokeNs:  make([]int32, cfg.Schedule.Total()),
	}
	if cfg.Reads > 0 {
		r.recent = &recent{}
		r.reads = make([]bool, cfg.Schedule.Total())
		for slot := range r.reads {
			r.reads[slot] = cfg.Workload.readsSlot(int64(slot), cfg.Reads)
		}
	}
	return r
}

// ReadFrom sets where reads go. Call it before Do.
func (r *Run) ReadFrom(store Reader) { r.store = store }

// reading tells whether the slot reads, or has read.
func (r *Run) reading(slot int64) bool { return r.reads != nil && r.reads[slot] }

// Begin starts the clock of the run. Call it before Do and before the first Tick.
func (r *Run) Begin() { r.start = time.Now() }

// Elapsed returns the time since Begin.
func (r *Run) Elapsed() time.Duration { return time.Since(r.start) }

// Do works off the schedule. newWriter is called once for each writer; the function that it returns
// makes one write, blocks until it is acknowledged, and may not keep key or value after that: they
// are overwritten for the next write. Do blocks until every slot was sent and answered or the
// backlog is cut off. It returns the context's error if that ends first, and ErrNoAnswer if writes
// stay unanswered for a minute after the cut-off; in both cases writers may be left behind in a
// write, and the caller should end the process.
func (r *Run) Do(ctx context.Context, newWriter func() func(key, value []byte) error) error {
	var writers sync.WaitGroup
	var inFlight atomic.Int64
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range r.cfg.Writers {
		write := newWriter()
		writers.Go(func() { r.writer(ctx, write, &inFlight) })
	}
	answered := make(chan struct{})
	go func() {
		writers.Wait()
		close(answered)
	}()

	patience := time.NewTimer(r.cutoff() + answerGrace - r.Elapsed())
	defer patience.Stop()
	select {
	case <-answered:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return fmt.Errorf("%w: %d were sent and not answered within %v of the cut-off",
			ErrNoAnswer, inFlight.Load(), answerGrace)
	}
}

// Stop ends Do before the end of the schedule: writers send the slots that they have taken, at most
// one each, when these are due, and take no other. Safe for concurrent use.
func (r *Run) Stop() { r.stopped.Store(true) }

// Answered tells whether every slot that was due before t, counted from the begin of the run, is
// acknowledged or failed. Safe for concurrent use.
func (r *Run) Answered(t time.Duration) bool {
	// The last ones first: they are the ones that are missing.
	for slot := r.cfg.Schedule.firstFrom(t) - 1; slot >= 0; slot-- {
		if r.outcome[slot].Load() == outcomeUnsent {
			return false
		}
	}
	return true
}

// FirstError returns the error of the first write that failed, nil if none did. Safe for concurrent
// use.
func (r *Run) FirstError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.firstErr
}

// FirstReadError returns the error of the first read that failed or found a wrong value, nil if
// none did. Safe for concurrent use.
func (r *Run) FirstReadError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.firstReadErr
}

func (r *Run) cutoff() time.Duration { return r.cfg.Schedule.End() + r.cfg.Backlog }

func (r *Run) writer(ctx context.Context, write func(key, value []byte) error, inFlight *atomic.Int64) {
	sched, load := r.cfg.Schedule, r.cfg.Workload
	cutoff := r.cutoff()
	key := make([]byte, 0, KeySize)
	value := make([]byte, 0, load.valueSize)
	p := newPacer(r.cfg.Precise)
	defer p.close()
	rd := &reader{load: load, store: r.store}
	prepare := func(slot int64) {
		key = load.AppendKey(key[:0], slot)
		value = load.AppendValue(value[:0], slot)
	}

	for !r.stopped.Load() {
		slot := r.next.Add(1) - 1
		if slot >= sched.Total() || ctx.Err() != nil {
			return
		}
		// The bytes are made before the due time, so that they are not part of the latency of a
		// store that keeps up.
		reads := r.reading(slot)
		if !reads {
			prepare(slot)
		}

		sp := &sched.spans[sched.spanOf(slot)]
		due := sp.due(slot)
		r.wokeNs[slot] = notWaited
		switch now := r.Elapsed(); {
		case now < due:
			if !p.wait(ctx, r.start, due, sp.Rate) {
				return
			}
			r.wokeNs[slot] = int32(min(r.Elapsed()-due, time.Second))
		case now >= cutoff:
			return
		}

		// Which key is recent is decided as late as possible.
		target := int64(0)
		if reads {
			if target, reads = r.recent.pick(); !reads {
				r.reads[slot] = false
				prepare(slot)
			}
		}

		inFlight.Add(1)
		var err error
		if reads {
			err = rd.read(target)
		} else {
			err = write(key, value)
		}
		inFlight.Add(-1)
		took := int64(max(r.Elapsed()-due, 1))
		if reads && err == nil {
			err = rd.check(target)
		}
		if err != nil {
			r.outcome[slot].Store(outcomeFailed)
			r.fail(err, reads)
			continue
		}
		r.outcome[slot].Store(took)
		if r.recent != nil && !reads {
			r.recent.add(slot)
		}
	}
}

func (r *Run) fail(err error, reads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := &r.mu.firstErr
	if reads {
		first = &r.mu.firstReadErr
	}
	if *first == nil {
		*first = err
	}
}
