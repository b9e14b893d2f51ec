package notify

import (
	"sync"
	"sync/atomic"
)

// Bound is how many events may wait for the listener: less than a megabyte.
const Bound = 4096

// Frequency says how much of the queue events of a kind may fill.
type Frequency int

const (
	// Rare is for what a listener needs to know where things stand.
	Rare Frequency = Bound
	// Often is for what comes in numbers, which must not push that out.
	Often Frequency = Bound / 2
)

// Queue calls functions in order, from a goroutine that exists only while there are some. All
// methods are safe for concurrent use, take no lock but the queue's own, under which nothing is
// called, and do not block, except Close.
type Queue struct {
	tell    func(left int64)
	dropped atomic.Int64

	mu struct {
		sync.Mutex
		queue   []func()
		told    int64 // how many of those that were left out tell has heard of
		running bool
		closed  bool
		idle    *sync.Cond
	}
}

// NewQueue returns an empty queue. tell is called, from the queue's goroutine, when it has been
// worked off, with how many events were left out since the last call, if any were.
func NewQueue(tell func(left int64)) *Queue {
	q := &Queue{tell: tell}
	q.mu.idle = sync.NewCond(&q.mu.Mutex)
	return q
}

// Dropped returns how many events were left out, since the queue was full.
func (q *Queue) Dropped() int64 { return q.dropped.Load() }

// Waiting returns how many events wait.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.mu.queue)
}

// Deliver queues f with info. A nil f is nothing.
func Deliver[T any](q *Queue, f func(T), info T, fill Frequency) {
	if f == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.roomLocked(fill) {
		q.pushLocked(func() { f(info) })
	}
}

// Begin queues the first event of a pair, and returns whether End is to queue the second: both are
// told or neither. The second always has a place, so the queue may grow past its bound by one event
// for each pair that is open, a commit that waits for instance. second says whether there is a
// listener for it.
func Begin[T any](q *Queue, f func(T), info T, second bool, fill Frequency) (told bool) {
	if f == nil && !second {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.roomLocked(fill) {
		return false
	}
	if f != nil {
		q.pushLocked(func() { f(info) })
	}
	return true
}

// End queues the second event of a pair whose first was told.
func End[T any](q *Queue, f func(T), info T, told bool) {
	if f == nil || !told {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushLocked(func() { f(info) })
}

func (q *Queue) roomLocked(fill Frequency) bool {
	if len(q.mu.queue) >= int(fill) {
		q.dropped.Add(1)
		return false
	}
	return true
}

func (q *Queue) pushLocked(f func()) {
	if q.mu.closed {
		return
	}
	q.mu.queue = append(q.mu.queue, f)
	if !q.mu.running {
		q.mu.running = true
		go q.run()
	}
}

func (q *Queue) run() {
	for {
		f, left := q.next()
		switch {
		case f != nil:
			f()
		case left > 0:
			q.tell(left)
		default:
			return
		}
	}
}

// next returns what is to be called, or how many events were left out, or neither at the end.
func (q *Queue) next() (f func(), left int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.mu.queue) > 0 {
		f = q.mu.queue[0]
		q.mu.queue[0] = nil
		q.mu.queue = q.mu.queue[1:]
		return f, 0
	}
	q.mu.queue = nil
	left = q.dropped.Load() - q.mu.told
	q.mu.told += left
	if left == 0 {
		q.mu.running = false
		q.mu.idle.Broadcast()
	}
	return nil, left
}

// Close blocks until all is delivered. What comes later is not.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.mu.running {
		q.mu.idle.Wait()
	}
	q.mu.closed = true
}
