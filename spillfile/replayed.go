package spillfile

import (
	"slices"

	"github.com/badgerspill/badgerspill/spillfile/internal/layout"
)

// MarkReplayed records that every batch up to seq is in Badger and synced there. It makes that
// durable first and then drops the segments that hold nothing else: from the view, then from the
// disk. A crash anywhere in between brings none of them back. It blocks for the manifest and the
// removals. An error leaves the log usable, and the call may be repeated; if only the removals
// failed, the segments are dropped nevertheless.
func (l *Log) MarkReplayed(seq uint64) error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	defer l.send()
	l.manifest.mu.Lock()
	defer l.manifest.mu.Unlock()
	seq = min(seq, l.lastSeq.Load())
	l.w.mu.Lock()
	if l.w.closed {
		l.w.mu.Unlock()
		return ErrClosed
	}
	last := l.w.active
	// or else the manifest would count on it, and it be dropped
	if last != nil && last.lastSeq.Load() <= seq {
		last.doomed = true
		l.sealLocked(last)
	}
	m := l.manifestLocked(max(seq, l.replayed.Load()))
	l.w.mu.Unlock()
	if seq > l.replayed.Load() {
		if err := l.writeManifest(m); err != nil {
			if last != nil {
				l.w.mu.Lock()
				last.doomed = false
				l.w.mu.Unlock()
				l.wakeBackground()
			}
			return err
		}
		l.replayed.Store(seq)
	}
	l.w.mu.Lock()
	l.dropLocked()
	l.w.mu.Unlock()
	err := l.removeDead()
	l.makeSpare() // there may be room for it now
	return err
}

// MarkReplayedIfLast is MarkReplayed if nothing follows seq, neither in the log nor in the queue;
// otherwise it does nothing and returns false; so does a failure. Called under the lock of the
// caller that orders Enqueue, so that the log stays empty; it blocks for the manifest, not for the
// removal of files, nor for OnEvent, which is called in the background.
func (l *Log) MarkReplayedIfLast(seq uint64) (bool, error) {
	if l.o.ReadOnly {
		return false, ErrReadOnly
	}
	l.manifest.mu.Lock()
	defer l.manifest.mu.Unlock()
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.closed {
		return false, ErrClosed
	}
	if l.pending.Load() != 0 || seq < l.lastSeq.Load() {
		return false, nil
	}
	err := l.dropAllLocked()
	return err == nil, err
}

// DiscardAll drops everything: all of it is known to be in Badger. It blocks as MarkReplayed does.
func (l *Log) DiscardAll() error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	defer l.send()
	l.manifest.mu.Lock()
	defer l.manifest.mu.Unlock()
	l.w.mu.Lock()
	if l.w.closed {
		l.w.mu.Unlock()
		return ErrClosed
	}
	err := l.dropAllLocked()
	l.w.mu.Unlock()
	if err != nil {
		return err
	}
	return l.removeDead()
}

// dropAllLocked makes the manifest say that everything is replayed, and empties the view. The files
// go in the background. manifest.mu and writer.mu must be held.
func (l *Log) dropAllLocked() error {
	if s := l.w.active; s != nil {
		l.sealLocked(s)
	}
	if seq := l.lastSeq.Load(); seq > l.replayed.Load() {
		if err := l.writeManifest(l.manifestLocked(seq)); err != nil {
			return err
		}
		l.replayed.Store(seq)
	}
	l.dropLocked()
	l.wakeBackground()
	return nil
}

// dropLocked removes the segments that are wholly replayed from the log. The manifest must be
// durable already.
func (l *Log) dropLocked() {
	w := &l.w
	replayed := l.replayed.Load()
	if s := w.active; s != nil && s.lastSeq.Load() <= replayed {
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
	l.advanceLocked() // what held the mark back may be gone
	l.publishLocked()
	for _, s := range dropped {
		l.bury(s)
	}
}

// manifestLocked describes the log as it will be with everything up to replayed gone. writer.mu
// must be held.
func (l *Log) manifestLocked(replayed uint64) *layout.Manifest {
	w := &l.w
	l.prep.mu.Lock()
	next := l.prep.next
	if l.prep.ready != nil { // nothing was ever in it
		next = l.prep.ready.id()
	}
	l.prep.mu.Unlock()
	firstLive := next
	m := &layout.Manifest{DatabaseID: l.o.DatabaseID, Replayed: replayed, Next: next, LastSeq: l.lastSeq.Load()}
	for _, s := range slices.Backward(w.live) {
		// An active segment may get a batch before the manifest is written: it never counts as dead
		// here.
		if !s.sealed || s.lastSeq.Load() > replayed {
			firstLive = s.id()
			m.Newest = max(m.Newest, s.id())
		}
	}
	m.FirstLive = firstLive
	m.Mark, m.MarkSeq = l.markLocked()
	return m
}

// markLocked returns the synced mark and the last sequence that it is known to cover, both zero if
// nothing is live.
func (l *Log) markLocked() (Position, uint64) {
	w := &l.w
	var at Position
	var seq uint64
	for _, s := range w.live {
		if s.synced < s.end.Load() {
			break
		}
		at, seq = Position{Segment: s.id(), Offset: s.synced}, s.lastSeq.Load()
	}
	return at, seq
}
