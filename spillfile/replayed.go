package spillfile

import (
	"fmt"
	"slices"
)

// MarkReplayed records that every batch up to seq is in Badger and synced there. It makes that durable first and then
// drops the segments that hold nothing else: from the view, then from the disk. A crash anywhere in between
// brings none of them back. It blocks for the manifest and the removals. An error leaves the log usable, and the
// call may be repeated; if only the removals failed, the segments are dropped nevertheless.
func (l *Log) MarkReplayed(seq uint64) error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	l.manifest.mu.Lock()
	defer l.manifest.mu.Unlock()
	seq = min(seq, l.lastSeq.Load())
	l.w.mu.Lock()
	if l.w.closed {
		l.w.mu.Unlock()
		return ErrClosed
	}
	m := l.manifestLocked(max(seq, l.replayed.Load()))
	l.w.mu.Unlock()
	if seq > l.replayed.Load() {
		if err := m.write(l.fs, l.o.Dir); err != nil {
			return err
		}
		l.replayed.Store(seq)
	}
	l.w.mu.Lock()
	l.dropLocked()
	l.unlockWriter()
	return l.removeDead()
}

// MarkReplayedIfLast is MarkReplayed if nothing follows seq, neither in the log nor in the queue; otherwise it does
// nothing and returns false. Called under the lock of the caller that orders Enqueue, so that the log stays
// empty; it blocks for the manifest, not for the removal of files.
func (l *Log) MarkReplayedIfLast(seq uint64) (bool, error) {
	if l.o.ReadOnly {
		return false, ErrReadOnly
	}
	l.manifest.mu.Lock()
	defer l.manifest.mu.Unlock()
	l.w.mu.Lock()
	defer l.unlockWriter()
	if l.w.closed {
		return false, ErrClosed
	}
	if l.pending.Load() != 0 || seq < l.lastSeq.Load() {
		return false, nil
	}
	return true, l.dropAllLocked()
}

// DiscardAll drops everything: all of it is known to be in Badger. It blocks as MarkReplayed does.
func (l *Log) DiscardAll() error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	l.manifest.mu.Lock()
	defer l.manifest.mu.Unlock()
	l.w.mu.Lock()
	if l.w.closed {
		l.w.mu.Unlock()
		return ErrClosed
	}
	err := l.dropAllLocked()
	l.unlockWriter()
	if err != nil {
		return err
	}
	return l.removeDead()
}

// dropAllLocked makes the manifest say that everything is replayed, and empties the view. The files go in the
// background. manifest.mu and writer.mu must be held.
func (l *Log) dropAllLocked() error {
	if s := l.w.active; s != nil {
		l.sealLocked(s)
	}
	if seq := l.lastSeq.Load(); seq > l.replayed.Load() {
		if err := l.manifestLocked(seq).write(l.fs, l.o.Dir); err != nil {
			return err
		}
		l.replayed.Store(seq)
	}
	l.dropLocked()
	l.wakeBackground()
	return nil
}

// dropLocked removes the segments that are wholly replayed from the log. The manifest must be durable already.
func (l *Log) dropLocked() {
	w := &l.w
	replayed := l.replayed.Load()
	if s := w.active; s != nil && s.lastSeq.Load() <= replayed && l.pending.Load() == 0 {
		l.sealLocked(s)
	}
	dead := func(s *segment) bool { return s.sealed && s.lastSeq.Load() <= replayed }
	var dropped []*segment
	for _, s := range w.live {
		if dead(s) {
			dropped = append(dropped, s)
			l.noteLocked(SegmentDropped, s, s.end.Load(), nil)
		}
	}
	if len(dropped) == 0 {
		return
	}
	w.live = slices.DeleteFunc(slices.Clone(w.live), dead)
	w.unsynced = slices.DeleteFunc(w.unsynced, dead)
	l.publishLocked()
	for _, s := range dropped {
		l.bury(s)
	}
}

// manifestLocked describes the log as it will be with everything up to replayed gone. writer.mu must be held.
func (l *Log) manifestLocked(replayed uint64) *manifest {
	w := &l.w
	l.prep.mu.Lock()
	next := l.prep.next
	firstLive := next
	if l.prep.ready != nil {
		firstLive = l.prep.ready.id()
	}
	l.prep.mu.Unlock()
	m := &manifest{databaseID: l.o.DatabaseID, replayed: replayed, next: next, lastSeq: l.lastSeq.Load()}
	for _, s := range slices.Backward(w.live) {
		// An active segment may get a batch before the manifest is written: it never counts as dead here.
		if !s.sealed || s.lastSeq.Load() > replayed {
			firstLive = s.id()
		}
	}
	m.firstLive = firstLive
	m.mark, m.markSeq = l.markLocked()
	return m
}

// markLocked returns the synced mark and the last sequence that it is known to cover, both zero if nothing is live.
func (l *Log) markLocked() (Position, uint64) {
	w := &l.w
	var at Position
	var seq uint64
	for _, s := range w.live {
		if s.synced < s.end.Load() {
			break
		}
		at, seq = Position{s.id(), s.synced}, s.lastSeq.Load()
	}
	return at, seq
}

// Close makes everything durable, records the exact end of the log so that any later damage is noticed, and
// closes the files that no View holds. Batches that are queued fail with ErrClosed. It removes nothing live, and blocks
// for a group that is being written. Every other call afterwards fails with ErrClosed or finds nothing; a second
// Close returns nil.
func (l *Log) Close() error {
	l.w.mu.Lock()
	if l.w.closed {
		l.w.mu.Unlock()
		return nil
	}
	l.w.closed = true
	if s := l.w.active; s != nil {
		l.sealLocked(s)
	}
	l.unlockWriter()
	l.failQueue()
	if l.o.ReadOnly {
		return l.release()
	}
	close(l.bg.stop)
	<-l.bg.done
	serr := l.syncAll(false)

	l.manifest.mu.Lock()
	defer l.manifest.mu.Unlock()
	l.prep.mu.Lock()
	if s := l.prep.ready; s != nil {
		l.prep.ready = nil
		l.bury(s)
	}
	l.prep.mu.Unlock()
	derr := l.removeDead()
	l.w.mu.Lock()
	m := l.manifestLocked(l.replayed.Load())
	l.w.mu.Unlock()
	m.clean = serr == nil
	if m.clean && m.markSeq == 0 {
		m.mark = Position{}
	}
	merr := m.write(l.fs, l.o.Dir)
	rerr := l.release()
	for _, err := range []error{serr, merr, derr, rerr} {
		if err != nil {
			return fmt.Errorf("close of spill %s: %w", l.o.Dir, err)
		}
	}
	return nil
}

// failQueue answers what is queued; writer.closed makes each of them fail. If somebody leads, he does that.
func (l *Log) failQueue() {
	q := &l.queue.mu
	q.Lock()
	idle := !q.leader && len(q.batches) > 0
	q.leader = q.leader || idle
	q.Unlock()
	if idle {
		l.lead(nil)
	}
}

// release gives up the view, the files and the lock.
func (l *Log) release() error {
	l.w.mu.Lock()
	live := l.w.live
	l.w.live, l.w.unsynced = nil, nil
	l.publishLocked()
	l.unlockWriter()
	for _, s := range live {
		l.unref(s)
	}
	if l.lock == nil {
		return nil
	}
	return l.lock.Close()
}
