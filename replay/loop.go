package replay

import "time"

// walk goes from state to state until Stop.
func (r *Replayer) walk() {
	defer close(r.done)
	for s := Idle; ; {
		r.enter(s)
		switch s {
		case Idle:
			s = r.idle()
		case Waiting:
			s = r.waiting()
		case Replaying:
			s = r.replaying()
		case Backoff:
			s = r.backoff()
		case Halted:
			s = r.halted()
		default:
			return
		}
	}
}

// idle blocks until there is something to do. A Wake between the look and the wait leaves
// its signal in the channel.
func (r *Replayer) idle() State {
	for {
		if r.stopping() {
			return Stopped
		}
		if r.work(r.o.Log.Pending()) {
			// Closes the interval without samples, so that the quiet window begins here.
			r.o.Rate.Sample()
			r.o.Commits.Sample()
			return Waiting
		}
		select {
		case <-r.wake:
		case <-r.quit:
		}
	}
}

func (r *Replayer) work(p Pending) bool {
	return p.Bytes > 0 || r.unfinished() || r.anyDrain()
}

func (r *Replayer) unfinished() bool { return r.loop.handOverDue || r.loop.dirty }

// waiting looks at the triggers at each tick.
func (r *Replayer) waiting() State {
	tick := time.NewTimer(r.o.Tick)
	defer tick.Stop()
	for {
		if r.stopping() {
			return Stopped
		}
		p := r.o.Log.Pending()
		if !r.work(p) {
			return Idle
		}
		if r.loop.reason = r.trigger(p); r.loop.reason != ReasonNone {
			return Replaying
		}
		select {
		case <-tick.C:
			tick.Reset(r.o.Tick)
		case <-r.wake:
		case <-r.quit:
		}
	}
}

// hysteresis is the share of a mark below which a run that the mark started ends. Were it the
// mark itself, a run would end after a batch and be started again by the next commits, each
// time with a checkpoint; with a quarter of room it moves enough to be worth that.
const hysteresis = 0.75

// trigger returns the strongest reason to begin a run.
func (r *Replayer) trigger(p Pending) Reason { return r.reason(ReasonNone, p) }

// reason returns the strongest reason to replay, given the one that a run has so far, which
// may be none. The run's own reason holds on a little longer than it takes to begin: a mark by
// the hysteresis, quiet until the rate is a burst.
func (r *Replayer) reason(current Reason, p Pending) Reason {
	// Also where no case below asks for the rate: a gap would make the quiet window begin anew.
	r.o.Rate.Sample()
	r.o.Commits.Sample()
	r.pacer.look(time.Now())
	quiet := func() bool {
		if current == ReasonQuiet {
			return !r.o.Rate.Burst() && !r.o.Commits.Burst()
		}
		return r.o.Rate.Quiet() && r.o.Commits.Quiet()
	}
	highWater, age := r.o.HighWater, r.o.MaxSpillAge
	switch current {
	case ReasonFull, ReasonSlowed, ReasonHighWater:
		highWater *= hysteresis
	case ReasonAge:
		age = time.Duration(float64(age) * hysteresis)
	}
	switch {
	case r.anyDrain():
		return ReasonDrain
	case p.Bytes == 0 && r.unfinished():
		return ReasonUnfinished
	case p.Full:
		return ReasonFull
	case p.Fill >= highWater && p.Slowed:
		return ReasonSlowed
	case p.Fill >= highWater:
		return ReasonHighWater
	case p.Bytes > 0 && (p.Due || !p.Oldest.IsZero() && time.Since(p.Oldest) >= age):
		return ReasonAge
	case quiet():
		return ReasonQuiet
	default:
		return ReasonNone
	}
}

// backoff waits after an error. New data does not cut it short, a new caller of Drain does.
func (r *Replayer) backoff() State {
	timer := time.NewTimer(r.loop.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.kick:
	case <-r.quit:
	}
	return Waiting
}

// halted waits for Resume.
func (r *Replayer) halted() State {
	for !r.stopping() {
		if r.Stats().Halted == nil {
			r.loop.failures = 0
			return Waiting
		}
		select {
		case <-r.wake:
		case <-r.quit:
		}
	}
	return Stopped
}

// nap waits one tick.
func (r *Replayer) nap() {
	timer := time.NewTimer(r.o.Tick)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.quit:
	}
}
