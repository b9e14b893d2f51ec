package spillfile

import (
	"sync"

	"github.com/badgerspill/badgerspill/spillfile/internal/block"
)

// queue orders the batches and elects the leader.
//
// A commit is one walk: Enqueue gives it a place; Commit either waits for its token or, if nobody
// leads, leads. lead takes a prefix of the queue, writes it (writer.go), tells OnCommit, wakes the
// followers, and repeats until its own batch is done. Then it passes leadership to a waiter, or
// leaves it open. A batch whose owner has enqueued it but not called Commit yet is never made
// leader: its owner may be asleep.
type queue struct {
	mu struct {
		sync.Mutex
		batches []*Batch
		lastSeq uint64 // last assigned
		leader  bool
		rotate  bool
		direct  uint64
	}
}

const (
	// A group holds about this much: more would not make the write cheaper per byte, only its
	// members wait longer.
	maxGroup = 4 << 20
)

// Enqueue gives the batch its place in the log and its sequence. Callers serialize it by a lock of
// their own: the order of calls is the order on disk. It does no I/O. The caller must call Commit
// next.
func (l *Log) Enqueue(b *Batch, ts uint64) {
	l.EnqueueAll([]*Batch{b}, func(int) uint64 { return ts }, false)
}

// EnqueueAll is Enqueue for several batches that are written as one: all of them, or none. Commit
// must be called for the last one or, if that is followed, for one that is enqueued next. Nobody
// calls it for the others, which are detached: OnCommit tells how they ended, and the Log frees
// them afterwards.
func (l *Log) EnqueueAll(batches []*Batch, ts func(int) uint64, followed bool) {
	l.pending.Add(int64(len(batches)))
	q := &l.queue.mu
	q.Lock()
	defer q.Unlock()
	for i, b := range batches {
		b.Finish()
		q.lastSeq++
		b.seq, b.ts, b.detached = q.lastSeq, ts(i), followed || i < len(batches)-1
		b.rotate, b.direct = q.rotate, q.direct
		q.rotate = false
		b.queued = true
		q.batches = append(q.batches, b)
	}
}

// Unordered as the directThrough of Log.Rotate says that timestamps tell nothing about the order of
// commits.
const Unordered = block.Unordered

// Rotate makes the next enqueued batch begin a new segment, whose header (as those of all later
// segments) carries directThrough: the highest timestamp that may have gone to Badger directly
// before it. Called under the same lock of the caller as Enqueue; it does no I/O.
func (l *Log) Rotate(directThrough uint64) {
	q := &l.queue.mu
	q.Lock()
	q.rotate = true
	q.direct = max(q.direct, directThrough)
	q.Unlock()
}

// Commit returns when the batch is on disk, durable under Options.SyncWrites, and readable; or with
// the error that kept it from that, and then it never comes back. Over a crash before the next
// group is durable, though, the outcome of a failed sync is unknown. The error is ErrClosed,
// ErrReadOnly, ErrTooLarge, that of Options.OnFirst, or wraps that of the file system
// (syscall.ENOSPC for a full disk). After an error the log goes on with a fresh segment.
func (l *Log) Commit(b *Batch) error {
	if b.seq == 0 || b.detached {
		return ErrNotEnqueued
	}
	q := &l.queue.mu
	q.Lock()
	if b.queued && !q.leader {
		q.leader = true
		q.Unlock()
		l.lead(b)
		return b.result
	}
	b.waiting = b.queued
	q.Unlock()
	<-b.wake
	if b.lead {
		b.lead = false
		l.lead(b)
	}
	return b.result
}

// lead writes groups until own is done (nil: until the queue is empty), then passes leadership on.
func (l *Log) lead(own *Batch) {
	q := &l.queue.mu
	q.Lock()
	for {
		group := l.takeLocked()
		q.Unlock()
		err := l.write(group)
		l.o.OnCommit(group, err)
		for i, b := range group {
			group[i] = nil
			b.result = err
			switch {
			case b == own:
			case b.detached:
				b.free()
			default:
				b.wake <- struct{}{} // b is its owner's from here on
			}
		}
		q.Lock()
		if own != nil && own.queued {
			continue
		}
		next, more := l.successorLocked()
		if next != nil {
			next.waiting, next.lead = false, true
			q.Unlock()
			next.wake <- struct{}{}
			return
		}
		if !more {
			q.leader = false
			q.Unlock()
			return
		}
	}
}

// successorLocked returns the first batch whose owner waits. more says that there is none, nor any
// whose owner is about to call Commit, and yet something is queued: detached batches, which the
// leader had better write.
func (l *Log) successorLocked() (next *Batch, more bool) {
	q := &l.queue.mu
	more = len(q.batches) > 0
	for _, b := range q.batches {
		if b.waiting {
			return b, false
		}
		more = more && b.detached
	}
	return nil, more
}

// takeLocked removes the next group from the queue. The leader owns the slice until it takes again.
func (l *Log) takeLocked() []*Batch {
	q := &l.queue.mu
	group := l.w.group[:0]
	size := l.sizes.Load()
	var bytes, indexed int64
	for _, b := range q.batches {
		bytes += b.Size()
		indexed += b.IndexSize()
		full := bytes > size.groupBytes || indexed > size.groupIndex
		// Detached batches and the one that follows them succeed or fail as one.
		if n := len(group); n > 0 && !group[n-1].detached && (full || b.rotate || b.err != nil || group[n-1].err != nil) {
			break
		}
		b.queued = false
		group = append(group, b)
	}
	n := copy(q.batches, q.batches[len(group):])
	clear(q.batches[n:])
	q.batches = q.batches[:n]
	l.w.group = group
	return group
}
