package badgerspill

import (
	"sync"
	"time"

	"github.com/badgerspill/badgerspill/replay"
	"github.com/badgerspill/badgerspill/spillfile"
	"github.com/badgerspill/badgerspill/wbm"
)

// SpillCause says why the router turned to the spill.
type SpillCause int

// The causes.
const (
	CauseMemory   SpillCause = iota // the memory tier is Spill
	CauseStall                      // the oldest commit in flight to Badger passed StallThreshold
	CauseQueue                      // too many commits are in flight to Badger
	CauseRecovery                   // Open found commits in the spill
	CausePolicy                     // SpillPolicy is Always
	CauseSpace                      // Badger's volume is low on space, and the spill has another
	causes
)

// String returns the cause in a word.
func (c SpillCause) String() string {
	return [...]string{"memory", "stall", "queue", "recovery", "policy", "space"}[c]
}

// EventListener is told of what the layer does. Every field may be nil. Events are delivered one at a time, in order, by
// a goroutine of the layer, without locks held: a listener may use the database, but a slow one gets its events late,
// and it must not call Close.
type EventListener struct {
	// TierChange: the budget went from one tier to another.
	TierChange func(TierChangeInfo)
	// StallBegin: the oldest commit in flight to Badger passed StallThreshold. Each has its StallEnd.
	StallBegin func(StallInfo)
	// StallEnd: Badger has answered all that was in flight then.
	StallEnd func(StallInfo)
	// SpillBegin: commits go to the spill from here on.
	SpillBegin func(SpillBeginInfo)
	// HandOver: they go to Badger again.
	HandOver func(HandOverInfo)
	// Segment: a segment of the spill was created, sealed, dropped, removed, or has failed.
	Segment func(spillfile.Event)
	// ReplayBegin: a run of replay begins. Each has its ReplayEnd.
	ReplayBegin func(replay.Run)
	// ReplayProgress: Badger has taken another batch of it.
	ReplayProgress func(replay.Run)
	// ReplayEnd: it is over; the spill may hold more (replay.Run.Drained).
	ReplayEnd func(replay.Run)
	// BackgroundError: something failed that no caller waits for, or that callers got in another form. It is tried
	// again.
	BackgroundError func(BackgroundErrorInfo)
}

// TierChangeInfo belongs to EventListener.TierChange.
type TierChangeInfo struct {
	Old, New wbm.Tier // of the whole budget, which several databases may share
}

// StallInfo belongs to EventListener.StallBegin and StallEnd.
type StallInfo struct {
	Commits  int           // in flight to Badger when the stall was seen
	Duration time.Duration // since the oldest of them was sent
}

// SpillBeginInfo belongs to EventListener.SpillBegin.
type SpillBeginInfo struct {
	Cause  SpillCause // why
	Hedged int        // commits in flight to Badger that were appended to the spill as well
}

// HandOverInfo belongs to EventListener.HandOver.
type HandOverInfo struct {
	Held time.Duration // how long writers were held up by it
}

// BackgroundErrorInfo belongs to EventListener.BackgroundError.
type BackgroundErrorInfo struct {
	Op  string // what failed, in words
	Err error  // why
}

// events delivers to the listener, in order, from a goroutine that exists only while there is something to deliver.
type events struct {
	to *EventListener
	mu struct {
		sync.Mutex
		queue   []func()
		running bool
		idle    *sync.Cond
	}
}

func newEvents(to *EventListener) *events {
	if to == nil {
		to = &EventListener{}
	}
	e := &events{to: to}
	e.mu.idle = sync.NewCond(&e.mu.Mutex)
	return e
}

func deliver[T any](e *events, f func(T), info T) {
	if f == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.queue = append(e.mu.queue, func() { f(info) })
	if !e.mu.running {
		e.mu.running = true
		go e.run()
	}
}

func (e *events) run() {
	for {
		e.mu.Lock()
		queue := e.mu.queue
		e.mu.queue = nil
		if len(queue) == 0 {
			e.mu.running = false
			e.mu.idle.Broadcast()
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		for _, f := range queue {
			f()
		}
	}
}

// flush waits until all is delivered.
func (e *events) flush() {
	e.mu.Lock()
	for e.mu.running {
		e.mu.idle.Wait()
	}
	e.mu.Unlock()
}

func (e *events) tier(old, new wbm.Tier) { deliver(e, e.to.TierChange, TierChangeInfo{old, new}) }

func (e *events) stallBegin(s *stall, now int64) {
	deliver(e, e.to.StallBegin, StallInfo{s.commits, time.Duration(now - s.begin)})
}

func (e *events) stallEnd(s *stall, now int64) {
	deliver(e, e.to.StallEnd, StallInfo{s.commits, time.Duration(now - s.begin)})
}

func (e *events) spillBegin(cause SpillCause, hedged int) {
	deliver(e, e.to.SpillBegin, SpillBeginInfo{cause, hedged})
}

func (e *events) handOver(held time.Duration) { deliver(e, e.to.HandOver, HandOverInfo{held}) }

func (e *events) segment(ev spillfile.Event) { deliver(e, e.to.Segment, ev) }

func (e *events) backgroundError(op string, err error) {
	deliver(e, e.to.BackgroundError, BackgroundErrorInfo{op, err})
}
