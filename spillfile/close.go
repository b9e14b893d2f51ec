package spillfile

import "fmt"

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
	if l.o.ReadOnly || l.w.deferred { // closed, it stays so
		return l.release()
	}
	close(l.bg.stop)
	<-l.bg.done
	serr := l.syncAll(false)
	if err := l.indexSealed(); err != nil { // the next Open makes them from the segments
		l.report(err)
	}

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
	l.w.mu.Unlock()
	for _, s := range live {
		l.unref(s)
	}
	l.cache.clear()
	if l.lock == nil {
		return nil
	}
	return l.lock.Close()
}
