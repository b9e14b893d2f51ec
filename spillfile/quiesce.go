package spillfile

import (
	"sync"
	"sync/atomic"
	"time"
)

// quiet wakes who waits until nothing is queued. Log.pending tells.
type quiet struct {
	waiting atomic.Int32
	mu      sync.Mutex
	empty   chan struct{} // closed when nothing is queued; nil: nobody waits
}

// Quiesce blocks until every batch that was enqueued is answered, or until d has passed; 0 is
// without a bound. It reports whether the queue is empty. It waits for batches that are enqueued
// meanwhile, too, so the caller keeps others from that. OnCommit may be under way for the last of
// them. It is safe for concurrent use.
func (l *Log) Quiesce(d time.Duration) bool {
	if l.pending.Load() == 0 {
		return true
	}
	l.quiet.waiting.Add(1)
	defer l.quiet.waiting.Add(-1)
	var expired <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		empty := l.quiet.next()
		// The leader looks for waiters after it has counted: it sees this one, or this one sees 0.
		if l.pending.Load() == 0 {
			return true
		}
		select {
		case <-empty:
		case <-expired:
			return l.pending.Load() == 0
		}
	}
}

func (q *quiet) next() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.empty == nil {
		q.empty = make(chan struct{})
	}
	return q.empty
}

// answered counts batches that are answered.
func (l *Log) answered(n int) {
	if l.pending.Add(-int64(n)) > 0 || l.quiet.waiting.Load() == 0 {
		return
	}
	l.quiet.mu.Lock()
	defer l.quiet.mu.Unlock()
	if l.quiet.empty != nil {
		close(l.quiet.empty)
		l.quiet.empty = nil
	}
}
