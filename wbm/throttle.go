package wbm

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// minHorizon outlasts the usual stops of a Badger that compacts, seconds, and the time
	// between two segments that a replay at disk speed frees.
	minHorizon = 2 * time.Second
	// topRate bounds the rate at the mark, in bytes per second, by what a disk takes. From
	// 1 GiB of room on it makes the horizon longer: a large spill frees room in larger
	// pieces, and can afford to begin earlier.
	topRate = 512 << 20

	// maxStep is how old the rate that a writer sleeps by may get.
	maxStep = 10 * time.Millisecond
	// minStep keeps the head from sleeping for each commit: writers pass in bursts of a
	// millisecond's worth, which group commit likes.
	minStep = time.Millisecond
)

// throttle slows writers as a store fills up, so that they approach the wall instead of
// running into it.
//
// # The rate
//
// The permitted rate depends on nothing but the room that is left at this moment: with
// room for a band or more, writes are free; with less the rate is room/horizon. Where
// room is freed at a rate r and the writers would write faster, they come to rest at the
// room r*horizon, since with more of it they are faster than r, and with less slower.
// So usage itself measures the drain, and no estimate of it is needed that could be late,
// or wrong because room comes in jumps of whole files. Where nothing is freed at all, room
// falls by half every 0.7 horizons, ever more slowly. A drain faster than the rate at the
// mark takes usage below the mark, where writes are free: it is never held up.
//
// A writer that says that it needs more bytes than it will use, by a constant factor, only
// comes to rest at more room.
//
// # The bucket
//
// Tokens are bytes, added at the rate of the moment. A writer passes when there is a token, and
// takes what it needs, into debt if need be: a batch larger than what a step adds passes, and those
// behind it wait longer. There are two bounds. Tokens are worth one step at most, or writers that
// paused would save up for a jump over the wall. The debt is at most the room, so that it is paid
// within a horizon, whatever came before.
//
// # Liveness
//
// Who finds no token, or others waiting, queues, first in, first out. The head of the queue
// sleeps in steps of at most 10 ms, and looks at room, rate and tokens after each. So it
// sees within a step that the account is closed, that its commit no longer has to go to the
// spill, or that the spill is full for it, and goes on; and so does the next. Whoever is in
// the queue holds nothing.
type throttle struct {
	mark float64
	law  atomic.Pointer[law] // nil: nobody is ever slowed

	// turn has one slot. Who fills it is the head; Go queues those that wait to fill it in
	// the order in which they came.
	turn chan struct{}
	// wake has room for one signal to the head.
	wake chan struct{}
	// waiting is how many are in the queue, its head included.
	waiting atomic.Int64

	mu struct {
		sync.Mutex
		tokens float64 // bytes, below 0 = debt
		filled time.Time
	}
}

// law is what the rate depends on beside the room.
type law struct {
	band    int64
	horizon time.Duration
}

// init sets up a throttle for a store of that capacity, whose mark is at a share of it. A
// share that is not between 0 and 1 means that nobody is slowed.
func (t *throttle) init(capacity int64, mark float64) {
	t.mark = mark
	t.turn = make(chan struct{}, 1)
	t.wake = make(chan struct{}, 1)
	t.resize(capacity)
}

// resize makes it a throttle for a store of another capacity.
func (t *throttle) resize(capacity int64) {
	if !(t.mark > 0 && t.mark < 1) || capacity <= 0 {
		t.law.Store(nil)
		return
	}
	l := &law{band: int64((1 - t.mark) * float64(capacity))}
	l.horizon = max(minHorizon, time.Duration(float64(l.band)/topRate*float64(time.Second)))
	t.law.Store(l)
}

// slows tells whether writers are slowed with that much room.
func (t *throttle) slows(room int64) bool { return t.law.Load().slows(room) }

func (l *law) slows(room int64) bool { return l != nil && room < l.band }

// rate returns how many bytes may be written per second while writers are slowed.
func (l *law) rate(room int64) float64 {
	return float64(max(0, room)) / l.horizon.Seconds()
}

// look returns the room that is left, and whether the writer has to be slowed at all.
type look func() (room int64, slow bool)

// try takes n bytes if nobody waits and there is a token. It keeps writers out of the queue
// where tokens abound: handing a turn on costs more than taking a token.
func (t *throttle) try(n int64, look look) bool {
	return t.waiting.Load() == 0 && t.take(n, look) == 0
}

// wait queues until n bytes are taken, or look says that they need not be. A positive
// timeout bounds the wait; when it passes, that is no error. The only error is ctx.Err().
func (t *throttle) wait(ctx context.Context, n int64, timeout time.Duration, look look) error {
	t.waiting.Add(1) // before the look, so that what changes after it is signalled
	defer t.waiting.Add(-1)
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case t.turn <- struct{}{}:
	case <-expired:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.turn }()

	sleep := t.take(n, look)
	if sleep == 0 {
		return nil
	}
	step := time.NewTimer(sleep)
	defer step.Stop()
	for {
		select {
		case <-step.C:
		case <-t.wake:
		case <-expired:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		if sleep = t.take(n, look); sleep == 0 {
			return nil
		}
		step.Reset(sleep)
	}
}

// take adds the tokens of the time that has passed and takes n. It returns how long to
// sleep before the next look, 0 if the caller may go on.
func (t *throttle) take(n int64, look look) (sleep time.Duration) {
	room, slow := look()
	law := t.law.Load()
	if !slow || !law.slows(room) {
		return 0
	}
	rate := law.rate(room)
	if rate == 0 {
		return maxStep
	}
	b := &t.mu
	b.Lock()
	defer b.Unlock()
	now := time.Now()
	b.tokens += rate * now.Sub(b.filled).Seconds()
	b.tokens = max(-float64(room), min(b.tokens, rate*maxStep.Seconds()))
	b.filled = now
	if b.tokens > 0 {
		b.tokens -= float64(n)
		return 0
	}
	lack := -b.tokens / rate * float64(time.Second)
	return time.Duration(max(float64(minStep), min(lack, float64(maxStep))))
}

// lookAgain wakes the head. It is for what ends the slowing; a rate that has changed is
// seen within a step, and each group of commits that is settled changes it a little.
func (t *throttle) lookAgain() {
	if t.waiting.Load() == 0 {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// room returns what is left of the spill's capacity in bytes, below 0 if it was passed.
func (s *SpilloverManager) room() int64 { return s.capacity.Load() - s.usage.Load() }

// slow makes a commit wait that is on its way to a spill filled beyond its mark. Nothing is
// reserved. The only error is ctx.Err().
func (s *SpilloverManager) slow(ctx context.Context, r Request, timeout time.Duration) error {
	look := func() (int64, bool) {
		toSpill := s.active.Load() || s.ShouldSpillOver(r.Memory)
		return s.room(), toSpill && !s.account.closed.Load() && !s.IsSpilloverFull(r.Spill, r.Index)
	}
	if s.throttle.try(r.Spill, look) {
		return nil
	}
	s.stats.commitsSlowed.Add(1)
	begun := time.Now()
	err := s.throttle.wait(ctx, r.Spill, timeout, look)
	s.stats.slowedTime.Add(int64(time.Since(begun)))
	return err
}
