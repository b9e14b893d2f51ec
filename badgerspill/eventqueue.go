package badgerspill

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// eventQueue is how many events may wait for the listener: less than a megabyte.
const eventQueue = 4096

// frequency says how much of the queue events of a kind may fill.
type frequency int

const (
	rare  frequency = eventQueue     // what a listener needs to know where things stand
	often frequency = eventQueue / 2 // what comes in numbers must not push that out
)

// events delivers to the listener, in order, from a goroutine that exists only while there is
// something to deliver.
type events struct {
	to      *EventListener
	log     badger.Logger
	dropped atomic.Int64

	writers    atomic.Uint64 // numbers WriterBlocked
	replayTold bool          // the replayer's goroutine's own
	failures   lineLimiter

	mu struct {
		sync.Mutex
		queue   []func()
		logged  int64 // how many of those that were left out the log has told of
		running bool
		closed  bool
		idle    *sync.Cond
	}
}

func newEvents(to *EventListener, log badger.Logger) *events {
	if to == nil {
		to = &EventListener{}
	}
	e := &events{to: to, log: log}
	e.mu.idle = sync.NewCond(&e.mu.Mutex)
	return e
}

// deliver queues an event. It takes no lock but the queue's, which nothing is called under, so any
// lock may be held.
func deliver[T any](e *events, f func(T), info T, fill frequency) {
	if f == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.roomLocked(fill) {
		e.pushLocked(func() { f(info) })
	}
}

// begin queues the first event of a pair, and returns whether end is to queue the second: both are
// told or neither. The second always has a place, so the queue may grow past its bound by one event
// for each pair that is open, a commit that waits for instance.
func begin[T any](e *events, f func(T), info T, second bool, fill frequency) (told bool) {
	if f == nil && !second {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.roomLocked(fill) {
		return false
	}
	if f != nil {
		e.pushLocked(func() { f(info) })
	}
	return true
}

// end queues the second event of a pair.
func end[T any](e *events, f func(T), info T, told bool) {
	if f == nil || !told {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pushLocked(func() { f(info) })
}

func (e *events) roomLocked(fill frequency) bool {
	if len(e.mu.queue) >= int(fill) {
		e.dropped.Add(1)
		return false
	}
	return true
}

func (e *events) pushLocked(f func()) {
	if e.mu.closed {
		return
	}
	e.mu.queue = append(e.mu.queue, f)
	if !e.mu.running {
		e.mu.running = true
		go e.run()
	}
}

func (e *events) run() {
	for {
		e.mu.Lock()
		if len(e.mu.queue) == 0 {
			left := e.dropped.Load() - e.mu.logged
			e.mu.logged += left
			e.mu.queue = nil
			if left == 0 {
				e.mu.running = false
				e.mu.idle.Broadcast()
			}
			e.mu.Unlock()
			if left == 0 {
				return
			}
			e.log.Warningf("badgerspill: the EventListener is slower than the events, %d were left out: let it pass them on to a goroutine of its own\n", left)
			continue
		}
		f := e.mu.queue[0]
		e.mu.queue[0] = nil
		e.mu.queue = e.mu.queue[1:]
		e.mu.Unlock()
		f()
	}
}

// close waits until all is delivered. What comes later is not.
func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.mu.running {
		e.mu.idle.Wait()
	}
	e.mu.closed = true
}

// backgroundError tells of an error that no caller waits for, or that callers got in another form:
// by an event, and in the log, where then says what becomes of it. It must be called without locks
// that a logger could need.
func (e *events) backgroundError(op string, err error, then string) {
	deliver(e, e.to.BackgroundError, BackgroundErrorInfo{op, err}, rare)
	if more, ok := e.failures.allow(op); ok {
		e.log.Errorf("badgerspill: could not %s: %s; %s%s\n", op, strings.TrimSpace(err.Error()), then, more)
	}
}
