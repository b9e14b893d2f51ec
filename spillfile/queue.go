package spillfile

import "sync"

// queue orders the batches and elects the leader.
//
// A commit is one walk: Enqueue gives it a place; Commit either waits for its token or, if nobody leads, leads:
// lead takes a prefix of the queue, writes it (writer.go), tells OnCommit, wakes the followers, and repeats until its
// own batch is done; then it passes leadership to a waiter, or leaves it open. A batch whose owner has enqueued
// it but not called Commit yet is never made leader: its owner may be asleep.
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
	// A group holds about this much: more would not make the write cheaper per byte, only its members wait longer.
	maxGroup = 4 << 20
)

// Enqueue gives the batch its place in the log and its sequence. Callers serialize it by a lock of their own: the
// order of calls is the order on disk. It does no I/O. The caller must call Commit next.
func (l *Log) Enqueue(b *Batch, ts uint64) { l.enqueue(b, ts, false) }

// EnqueueDetached is Enqueue for a batch that nobody will call Commit for: it is written with the next batch that
// somebody does call Commit for, so one must follow. OnCommit tells how it ended; the Log frees it afterwards.
func (l *Log) EnqueueDetached(b *Batch, ts uint64) { l.enqueue(b, ts, true) }

func (l *Log) enqueue(b *Batch, ts uint64, detached bool) {
	b.Finish()
	l.pending.Add(1)
	q := &l.queue.mu
	q.Lock()
	q.lastSeq++
	b.seq, b.ts, b.detached = q.lastSeq, ts, detached
	b.rotate, b.direct = q.rotate, q.direct
	q.rotate = false
	b.queued = true
	q.batches = append(q.batches, b)
	q.Unlock()
}

// Unordered as the directThrough of Log.Rotate says that timestamps tell nothing about the order of commits.
const Unordered = ^uint64(0)

// Rotate makes the next enqueued batch begin a new segment, whose header (as those of all later segments) carries
// directThrough: the highest timestamp that may have gone to Badger directly before it. Called under the same
// lock of the caller as Enqueue; it does no I/O.
func (l *Log) Rotate(directThrough uint64) {
	q := &l.queue.mu
	q.Lock()
	q.rotate = true
	q.direct = max(q.direct, directThrough)
	q.Unlock()
}

// Commit returns when the batch is on disk, durable under Options.SyncWrites, and readable; or with the error that
// kept it from that, and then it never comes back. The error is ErrClosed, ErrReadOnly, ErrTooLarge, that of
// Options.OnFirst, or wraps that of the file system (syscall.ENOSPC for a full disk). After an error the log
// goes on with a fresh segment.
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

// successorLocked returns the first batch whose owner waits. more says that there is none, nor any whose owner
// is about to call Commit, and yet something is queued: detached batches, which the leader had better write.
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
	var bytes, indexed int64
	for _, b := range q.batches {
		bytes += b.Size()
		indexed += b.IndexSize()
		full := bytes > l.w.groupBytes || indexed > l.w.groupIndex
		if len(group) > 0 && (full || b.rotate || b.err != nil || group[0].err != nil) {
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
