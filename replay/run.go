package replay

import (
	"context"
	"time"
)

const (
	// pauseCheckpoint is how long a pause lasts before it takes a checkpoint. What the
	// spill still keeps of replayed data is memory too, perhaps the memory waited for.
	pauseCheckpoint = time.Second
	// maxEmptyBatches in a row that move nothing are taken for progress of a kind that
	// only the log sees (all coalesced); beyond, for none.
	maxEmptyBatches = 16
)

// operation is what can fail.
type operation int

const (
	opReplay operation = iota
	opCheckpoint
	opHandOver
)

// run is one run under way.
type run struct {
	Run
	begun      time.Time
	throughput throughput
	// handOverTried: a hand-over found more data, and nothing was replayed since.
	handOverTried bool
	emptyBatches  int
	// served are the callers of Drain that the hand-over has satisfied.
	served []*drain
}

// replaying is one run. It ends with a checkpoint whatever ended it, so that what is in
// Badger is not replayed again and its files go.
func (r *Replayer) replaying() State {
	now := time.Now()
	run := &run{Run: Run{Reason: r.loop.reason}, begun: now, throughput: throughput{begun: now, absorbed: r.o.Absorbed}}
	r.pacer.begin(now)
	r.update(func(st *Stats) { st.Runs++; st.Run = run.Run })
	r.o.OnBegin(run.Run)

	failed, err := r.batches(run)
	// A failed checkpoint is for the backoff to retry.
	if r.loop.dirty && (err == nil || failed != opCheckpoint) {
		if cerr := r.checkpoint(); cerr != nil && err == nil {
			failed, err = opCheckpoint, cerr
		} else if cerr != nil {
			r.update(func(st *Stats) { st.Errors++ })
		}
	}
	run.Err = err
	run.Drained = run.Drained && err == nil
	r.progress(run)
	if run.Drained {
		r.serve(run.served)
	}
	r.o.OnEnd(run.Run)
	if err != nil {
		return r.fail(failed, err)
	}
	return Waiting
}

// batches replays until the log is handed over, the reason is gone, Stop, or an error.
// Between two batches the reason is looked at again, so each of those takes one batch at most.
func (r *Replayer) batches(run *run) (operation, error) {
	for !r.stopping() {
		p := r.o.Log.Pending()
		reason := r.reason(run.Reason, p)
		if reason == ReasonNone {
			return 0, nil
		}
		run.Reason = reason

		r.pacer.plan(p.Left, time.Now())
		if p.Bytes > 0 {
			if rest := r.pacer.rest(reason, time.Now()); rest > 0 {
				r.rest(run, rest)
				continue
			}
		}
		if p.Bytes > 0 && !r.o.Log.MayReplay(p.Full || reason == ReasonDrain) {
			if err := r.pause(run); err != nil {
				return opCheckpoint, err
			}
			continue
		}
		drained := p.Bytes == 0
		if !drained {
			var err error
			if drained, err = r.batch(run); err != nil {
				return opReplay, err
			}
		}
		if drained {
			ok, err := r.handOver(run)
			if err != nil {
				return opHandOver, err
			}
			if ok {
				run.Drained = true
				return 0, nil
			}
		}
		due := r.checkpointBytes.Load()
		if r.loop.midway { // it gives back no room, and bounds what a kill makes be replayed twice
			due = max(due, DefaultCheckpointBytes)
		}
		if r.loop.unsyncedBytes >= due {
			if err := r.checkpoint(); err != nil {
				return opCheckpoint, err
			}
		}
	}
	return 0, nil
}

func (r *Replayer) batch(run *run) (drained bool, err error) {
	begun := time.Now()
	done, err := r.o.Log.Replay(context.Background(), r.pacer.size(run.Reason))
	now := time.Now()
	r.pacer.accountWork(begun, now)
	if err != nil {
		return false, err
	}
	r.pacer.accountBatch(run.Reason, done.Bytes, now.Sub(begun))
	if !done.Midway { // a chunk that fails near its end has many batches that do not
		r.succeeded(opReplay)
	}
	r.loop.dirty = true
	r.loop.unsyncedBytes += done.Bytes + done.Skipped - done.Synced
	r.loop.midway = done.Midway
	r.loop.handOverDue = done.Drained
	run.Bytes += done.Bytes
	run.Entries += done.Entries
	duty := r.pacer.dutyFor(run.Reason)
	r.update(func(st *Stats) { st.Bytes += done.Bytes; st.Entries += done.Entries; st.Duty = duty })
	r.progress(run)
	r.o.OnProgress(run.Run)

	run.throughput.add(done.Bytes, now, r.o.Rate)

	if done.Bytes > 0 || done.Entries > 0 || done.Skipped > 0 {
		run.handOverTried, run.emptyBatches = false, 0
	} else if run.emptyBatches++; run.emptyBatches > maxEmptyBatches && !done.Drained {
		r.nap()
	}
	return done.Drained, nil
}

func (r *Replayer) progress(run *run) {
	run.Duration = time.Since(run.begun)
	r.update(func(st *Stats) { st.Run = run.Run })
}

// handOver serves those who called Drain before it began. Those who come later may have
// seen commits that went to a new spill after it.
func (r *Replayer) handOver(run *run) (bool, error) {
	if run.handOverTried {
		// Not a byte was replayed since the last try: whatever is missing takes time.
		r.nap()
	}
	run.handOverTried = true
	r.loop.handOverDue = true
	drains := r.draining()
	begun := time.Now()
	ok, err := r.o.Log.HandOver(context.Background())
	r.pacer.accountWork(begun, time.Now())
	if err != nil {
		return false, err
	}
	r.succeeded(opHandOver)
	if !ok {
		return false, nil
	}
	r.loop.handOverDue = false
	r.loop.dirty = true
	run.served = drains
	r.update(func(st *Stats) { st.HandOvers++ })
	return true, nil
}

func (r *Replayer) checkpoint() error {
	begun := time.Now()
	err := r.o.Log.Checkpoint(context.Background())
	r.pacer.accountWork(begun, time.Now())
	if err != nil {
		return err
	}
	r.succeeded(opCheckpoint)
	r.loop.dirty = false
	r.loop.unsyncedBytes = 0
	r.update(func(st *Stats) { st.Checkpoints++ })
	return nil
}

// rest waits before the next batch, one tick at most: then the reason is looked at again, as after
// a Wake.
func (r *Replayer) rest(run *run, d time.Duration) {
	run.throughput.rested = true
	begun := time.Now()
	timer := time.NewTimer(min(d, r.o.Tick))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.wake:
	case <-r.quit:
	}
	r.update(func(st *Stats) { st.PausedTime += time.Since(begun) })
}

// pause waits until memory allows another batch, or the run has no reason any more.
func (r *Replayer) pause(run *run) error {
	r.enter(Paused)
	r.update(func(st *Stats) { st.Pauses++ })
	defer r.enter(Replaying)
	begun := time.Now()
	defer func() { r.update(func(st *Stats) { st.PausedTime += time.Since(begun) }) }()
	tick := time.NewTimer(r.o.Tick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			tick.Reset(r.o.Tick)
		case <-r.wake:
		case <-r.quit:
			return nil
		}
		p := r.o.Log.Pending()
		reason := r.reason(run.Reason, p)
		if reason == ReasonNone || p.Bytes == 0 || r.o.Log.MayReplay(p.Full || reason == ReasonDrain) {
			return nil
		}
		run.Reason = reason
		if r.loop.dirty && time.Since(begun) >= pauseCheckpoint {
			if err := r.checkpoint(); err != nil {
				return err
			}
		}
	}
}

// fail counts the error and chooses the delay, or halts.
func (r *Replayer) fail(op operation, err error) State {
	if r.o.Lasting(err) {
		r.update(func(st *Stats) { st.Errors++; st.LastError = err })
		r.halt(err)
		r.o.OnError(err, 0)
		return Halted
	}
	r.loop.failed = op
	r.loop.delay = r.o.BackoffMin
	for range r.loop.failures {
		if r.loop.delay >= r.o.BackoffMax/2 {
			r.loop.delay = r.o.BackoffMax
			break
		}
		r.loop.delay *= 2
	}
	r.loop.failures++
	r.update(func(st *Stats) { st.Errors++; st.LastError = err })
	// A caller of Drain that came before the failure has had its try.
	select {
	case <-r.kick:
	default:
	}
	r.o.OnError(err, r.loop.delay)
	return Backoff
}

// succeeded ends a row of failures if op is what failed. Any other success says nothing: a
// replay that goes well before each failing checkpoint would keep the delay short for ever.
func (r *Replayer) succeeded(op operation) {
	if op == r.loop.failed && r.loop.failures > 0 {
		r.loop.failures = 0
		r.o.OnRecovered()
	}
}
